/** Whether the network that an annotator needs is here. */
import { type AnnotatorChoice, isNetworkChoice } from "../schema/annotator-choice.ts";
import type { Catalog } from "../schema/catalog.ts";
import { refuseUnavailable, suggestion, unprocessable } from "./unprocessable.ts";

/**
 * @param path of the annotator in the request
 * @param params the path of its parameters
 * @throws {Refused} when an annotator needs a network whose files are not there, or names another than those
 */
export function checkNetwork(
  choice: AnnotatorChoice,
  catalog: Pick<Catalog, "annotators" | "skipped">,
  path: string,
  params = `${path}.params`,
): void {
  if (!isNetworkChoice(choice)) return;
  const offered = catalog.annotators.find(({ id }) => id === choice.name);
  const { network } = choice.params;
  if (network !== null && !offered?.networks.includes(network)) {
    refuseUnavailable("annotators", network, catalog, `${params}.network`);
    const known = offered?.networks.map((id) => ({ id })) ?? [];
    const message = `there is no network "${network}" for the annotator "${choice.name}"${suggestion(network, known)}`;
    throw unprocessable("unknown_network", `${params}.network`, message);
  }
  if (offered === undefined || offered.networks.length === 0) {
    const places = offered?.published.join("; or ") ?? "nowhere that is known";
    const message = `the annotator "${choice.name}" needs a network whose files are not in MODELS_DIR/annotators. They are published: ${places}`;
    throw unprocessable("annotator_unavailable", path, message);
  }
}
