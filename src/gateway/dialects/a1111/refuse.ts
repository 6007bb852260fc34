import { Refused } from "../../../errors.ts";

/** What a client of the web UI says and cannot have; the web UI's own status for it is 422. */
export function refuseA1111(path: string, message: string): Refused {
  return new Refused(422, "unsupported", `${path}: ${message}`, [{ path, message }]);
}
