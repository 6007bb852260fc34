/** What the gateway is made of, and what its routes work with. */
import type { Config } from "../config/config.ts";
import type { Fleet } from "../jobs/fleet.ts";
import type { JobQueue } from "../jobs/queue.ts";
import type { Outbound } from "../outbound/client.ts";
import type { Storage } from "../storage/storage.ts";
import type { Uploads } from "../storage/uploads.ts";
import type { Bounds } from "./bounds.ts";
import type { ImagesIn } from "./images-in.ts";
import type { Looks } from "./looks.ts";
import type { Room } from "./room.ts";
import type { Shares } from "./shares.ts";

/** What the process opens, and closes. */
export interface Parts {
  config: Config;
  queue: JobQueue;
  storage: Storage;
  outbound: Outbound;
  /** Other bounds than those of bounds.ts. */
  bounds?: Partial<Bounds>;
}

/** What routes get. */
export interface Service extends Parts {
  fleet: Fleet;
  bounds: Bounds;
  uploads: Uploads;
  imagesIn: ImagesIn;
  room: Room;
  looks: Looks;
  /** Clients that follow events, or wait for an end, by whatever API. */
  followers: Shares;
}
