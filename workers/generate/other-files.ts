/** What a file is by its name's end, where it is neither weights that are loaded nor what programs put beside them. */

const BY_END: readonly (readonly [RegExp, string])[] = [
  [/\.gguf$/i, "a GGUF file: quantized weights are not supported, only .safetensors files are loaded"],
  [/\.(onnx|onnx_data|onnx\.data)$/i, "an export to ONNX, which is not supported; only .safetensors files are loaded"],
  [/\.(msgpack|h5|ot|tflite|mlmodel)$/i, "weights for another framework; only .safetensors files are loaded"],
  [/\.(engine|plan|trt)$/i, "an engine of TensorRT, which is not supported; only .safetensors files are loaded"],
  [/\.(zip|rar|7z|gz|bz2|xz|tar)$/i, "a packed archive: unpack it"],
  [/\.(aria2|crdownload|incomplete|download|partial)$/i, "a download that was not finished"],
  [/\.sft$/i, "under another name: a safetensors file must end in .safetensors"],
];

/** Why a file of this name is not served. */
export const otherFile = (name: string): string =>
  BY_END.find(([end]) => end.test(name))?.[1] ?? "neither a model folder nor a .safetensors file";
