/** How far one subject is from its reference, and how far it may be. */
export interface Finding {
  subject: string;
  error: number;
  bound: number;
}
