/** A name of fetch's that Node's types leave out; the generated client uses it. */
type BodyInit = NonNullable<RequestInit["body"]>;
