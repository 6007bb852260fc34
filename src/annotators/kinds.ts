/**
 * The networks that annotators run, as they are published: by which files and names a folder of MODELS_DIR/annotators is recognised, what
 * its network must look like, and where users get it.
 */

import type { Computation } from "../onnx/build.ts";
import { hed } from "./graphs/hed.ts";
import { animeLineArt, lineArt } from "./graphs/line-art.ts";
import { mlsd } from "./graphs/mlsd.ts";
import type { NamedWeights } from "./graphs/named-weights.ts";
import { pidinet } from "./graphs/pidinet.ts";
import type { StoredNetwork } from "./onnx-file.ts";

export type AnnotatorNetworkKind =
  | "depth"
  | "segmentation"
  | "normal"
  | "hed"
  | "teed"
  | "pidinet"
  | "lineart"
  | "lineart_coarse"
  | "lineart_anime"
  | "mlsd"
  | "dwpose"
  | "vitpose";

/** Weights under their published names, and the network that they are of. */
export interface PublishedWeights {
  /** Without its ending: `.pth` or `.safetensors`. */
  readonly stem: string;
  readonly network: (weights: NamedWeights) => Computation;
}

export interface Kind {
  /** Annotators that need it. */
  readonly annotators: readonly string[];
  /** Names of folders, when neither a config nor a file's name says what it is. */
  readonly folders: readonly string[];
  /** `model_type`s of transformers' config.json, and the end of the architecture's name. */
  readonly configs?: { readonly types: readonly string[]; readonly architecture: string };
  /** ONNX files by their part in the annotator; the first of the names that is there. */
  readonly files: Readonly<Record<string, readonly string[]>>;
  /** Instead of `model`'s ONNX file. */
  readonly weights?: PublishedWeights;
  /** Channels of the input: [1, channels, H, W]. */
  readonly channels: number;
  /** Why outputs are not those of this kind; null when they may be. */
  readonly misfit: (net: StoredNetwork, part: string, classes?: number) => string | null;
  /** Sides must be multiples of it. */
  readonly multiple: number;
  /** Where it is published, in words for the user. */
  readonly published: string;
}

const MODEL = { model: ["onnx/model.onnx", "model.onnx", "onnx/model_fp16.onnx"] };

/** Sizes of an output's axes; null where it is open. */
const sizes = ({ outputs }: StoredNetwork, i = 0) =>
  outputs[i]?.shape.map((dim) => (typeof dim === "number" ? dim : null)) ?? [];

/** One output or several of the shape [1, `channels`, h, w]. */
const maps = (channels: number, counts: readonly number[]) => (net: StoredNetwork) => {
  if (!counts.includes(net.outputs.length)) {
    return `it has ${net.outputs.length} outputs, not ${counts.join(" or ")}`;
  }
  const wrong = net.outputs.find((_, i) => sizes(net, i).length !== 4 || (sizes(net, i)[1] ?? channels) !== channels);
  return wrong === undefined ? null : `its output "${wrong.name}" is [${wrong.shape}], not [1, ${channels}, h, w]`;
};

export const kinds = {
  depth: {
    annotators: ["depth", "normal_midas", "normal_metric3d"],
    folders: ["depth", "depth_anything", "depth_midas"],
    configs: { types: ["depth_anything", "dpt", "metric3d", "depth_pro"], architecture: "ForDepthEstimation" },
    files: MODEL,
    channels: 3,
    misfit: (net) => (sizes(net).length >= 2 && sizes(net).length <= 4 ? null : "its output is no map of depths"),
    multiple: 1,
    published:
      "onnx-community/depth-anything-v2-small (or -base, -large), Xenova/dpt-large, Xenova/dpt-hybrid-midas, onnx-community/metric3d-vit-small (for normals too) on Hugging Face: config.json, preprocessor_config.json, onnx/model.onnx",
  },
  segmentation: {
    annotators: ["segmentation"],
    folders: ["segmentation"],
    configs: { types: ["segformer", "upernet"], architecture: "ForSemanticSegmentation" },
    files: MODEL,
    channels: 3,
    misfit: (net, _part, classes = 150) => maps(classes, [1])(net),
    multiple: 1,
    published:
      "Xenova/segformer-b0-finetuned-ade-512-512 (… b5) on Hugging Face, or an export of openmmlab/upernet-convnext-small: config.json, preprocessor_config.json, onnx/model.onnx",
  },
  normal: {
    annotators: ["normal_bae"],
    folders: ["normal", "normal_bae"],
    files: MODEL,
    channels: 3,
    misfit: (net) => ((sizes(net)[1] ?? 3) >= 3 && net.inputs.length === 1 ? null : "its output has no three channels"),
    multiple: 32,
    published: "an ONNX export of lllyasviel/Annotators scannet.pt (image [1, 3, H, W] → normal) as model.onnx",
  },
  hed: {
    annotators: ["softedge_hed", "scribble_hed"],
    folders: ["hed", "softedge_hed"],
    files: MODEL,
    weights: { stem: "ControlNetHED", network: hed },
    channels: 3,
    misfit: maps(1, [1, 5]),
    multiple: 1,
    published: "lllyasviel/Annotators on Hugging Face: ControlNetHED.pth",
  },
  teed: {
    annotators: ["softedge_teed"],
    folders: ["teed", "softedge_teed"],
    files: MODEL,
    channels: 3,
    misfit: maps(1, [1, 3, 4]),
    multiple: 8,
    published: "an ONNX export of TEED (image [1, 3, H, W] of 0 … 255 → four maps) as model.onnx",
  },
  pidinet: {
    annotators: ["softedge_pidinet", "scribble_pidinet"],
    folders: ["pidinet", "softedge_pidinet"],
    files: { model: [...MODEL.model, "PiDiNet.onnx"] },
    weights: { stem: "table5_pidinet", network: pidinet },
    channels: 3,
    misfit: maps(1, [1, 5]),
    multiple: 1,
    published: "lllyasviel/Annotators on Hugging Face: table5_pidinet.pth",
  },
  lineart: {
    annotators: ["lineart_realistic"],
    folders: ["lineart", "lineart_realistic"],
    files: { model: [...MODEL.model, "lineart.onnx"] },
    weights: { stem: "sk_model", network: lineArt },
    channels: 3,
    misfit: maps(1, [1]),
    multiple: 1,
    published: "lllyasviel/Annotators: sk_model.pth, or deepghs/imgutils-models: lineart/lineart.onnx, on Hugging Face",
  },
  lineart_coarse: {
    annotators: ["lineart_coarse"],
    folders: ["lineart_coarse"],
    files: { model: [...MODEL.model, "lineart_coarse.onnx"] },
    weights: { stem: "sk_model2", network: lineArt },
    channels: 3,
    misfit: maps(1, [1]),
    multiple: 1,
    published:
      "lllyasviel/Annotators: sk_model2.pth, or deepghs/imgutils-models: lineart/lineart_coarse.onnx, on Hugging Face",
  },
  lineart_anime: {
    annotators: ["lineart_anime"],
    folders: ["lineart_anime"],
    files: { model: [...MODEL.model, "lineart_anime.onnx"] },
    weights: { stem: "netG", network: animeLineArt },
    channels: 3,
    misfit: maps(1, [1]),
    multiple: 1,
    published:
      "lllyasviel/Annotators: netG.pth, or deepghs/imgutils-models: lineart/lineart_anime.onnx, on Hugging Face",
  },
  mlsd: {
    annotators: ["mlsd"],
    folders: ["mlsd"],
    files: { model: [...MODEL.model, "mlsd_large_512_fp32.onnx"] },
    weights: { stem: "mlsd_large_512_fp32", network: mlsd },
    channels: 4,
    misfit: maps(9, [1]),
    multiple: 32,
    published: "lllyasviel/Annotators on Hugging Face: mlsd_large_512_fp32.pth",
  },
  dwpose: {
    annotators: ["openpose", "openpose_full"],
    folders: ["dwpose"],
    files: { detector: ["yolox_l.onnx"], pose: ["dw-ll_ucoco_384.onnx"] },
    channels: 3,
    misfit: (net, part) =>
      part === "detector"
        ? (sizes(net)[2] ?? 85) === 85
          ? null
          : "its output is not [1, cells, 85]"
        : net.outputs.length === 2
          ? null
          : "it has not the two outputs [1, 133, 576] and [1, 133, 768]",
    multiple: 1,
    published: "yzd-v/DWPose on Hugging Face: yolox_l.onnx and dw-ll_ucoco_384.onnx",
  },
  vitpose: {
    annotators: ["openpose"],
    folders: ["vitpose"],
    configs: { types: ["vitpose"], architecture: "ForPoseEstimation" },
    files: MODEL,
    channels: 3,
    misfit: maps(17, [1]),
    multiple: 1,
    published:
      "onnx-community/vitpose-base-simple on Hugging Face: config.json, preprocessor_config.json, onnx/model.onnx",
  },
} satisfies Record<AnnotatorNetworkKind, Kind>;
