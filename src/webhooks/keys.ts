/** The names of the deliveries' keys in Redis, each spelled once: the scripts in lua/ read them as locals. */
export const DELIVERY_NAMES = {
  /** Sorted set: delivery id, when to try it next (ms of Redis' clock). */
  DUE: "webhooks:due",
  /** Counter: orders the deliveries of an owner. */
  DELIVERY_SEQUENCE: "webhooks:sequence",
  /** Before a delivery's id. */
  DELIVERY: "webhook:",
  /** After it: the job's record as it was at the event, but for the request. */
  DELIVERED_RECORD: ":generation",
  /** After it: the log of its attempts. */
  ATTEMPTS: ":attempts",
  /** Before an owner: sorted set of the owner's delivery ids in their order. */
  DELIVERIES_OF: "webhooks:of:",
  /** Before an owner and an address: when it answered 410. */
  GONE: "webhooks:gone:",
} as const;
export const { DUE } = DELIVERY_NAMES;

export const deliveryKey = (id: string) => `${DELIVERY_NAMES.DELIVERY}${id}`;
export const attemptsKey = (id: string) => `${deliveryKey(id)}${DELIVERY_NAMES.ATTEMPTS}`;
export const deliveriesKey = (owner: string) => `${DELIVERY_NAMES.DELIVERIES_OF}${owner}`;
export const goneKey = (owner: string, url: string) => `${DELIVERY_NAMES.GONE}${owner}:${url}`;
