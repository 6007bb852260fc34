/** Annotators of controlnet_aux and the A1111 extension that are not here, and what of ours makes a map for the same ControlNets. */
const depth = '"depth" (Depth-Anything, DPT) makes maps for the same ControlNets';
const segments = '"segmentation" (SegFormer, UperNet) makes maps in the same colors of ADE20K for the same ControlNets';
const soft = (name: string) => `use {"name": "${name}", "params": {"safe": true}}`;
const parts = '"openpose_full" finds hands and faces with the bodies, "openpose" bodies alone';
const none = "nothing here makes maps of that kind; send the map as the control's image, without an annotator";

export const INSTEAD: Readonly<Record<string, string>> = {
  lsd_lines: '"hough_lines" draws straight lines without a network, "mlsd" with one',
  depth_zoe: depth,
  depth_leres: depth,
  "depth_leres++": depth,
  depth_hand_refiner: depth,
  normal_dsine: '"normal_bae" and "normal_metric3d" make maps for the same ControlNets',
  lineart_anime_denoise: '"lineart_anime" makes maps for the same ControlNets',
  manga_line: '"lineart_anime" makes maps for the same ControlNets',
  softedge_anyline: '"softedge_teed" and "lineart_standard" are what it is made of',
  anyline: '"softedge_teed" and "lineart_standard" are what it is made of',
  softedge_hedsafe: soft("softedge_hed"),
  hed_safe: soft("softedge_hed"),
  softedge_pidisafe: soft("softedge_pidinet"),
  softedge_pidsafe: soft("softedge_pidinet"),
  pidinet_safe: soft("softedge_pidinet"),
  openpose_hand: parts,
  openpose_face: parts,
  openpose_faceonly: parts,
  animal_openpose: none,
  densepose: none,
  mediapipe_face: none,
  sam: none,
  oneformer: segments,
  seg_ofade20k: segments,
  seg_ufade20k: segments,
  seg_ofcoco: none,
};
