import { readFileSync } from "node:fs";
import sharp from "sharp";
import { houghLines } from "./src/image/hough.ts";
const [l,q]=JSON.parse(readFileSync("/tmp/annotators/h.json","utf8"));
const {data,info}=await sharp("/tmp/annotators/e.png").toColourspace("b-w").raw().toBuffer({resolveWithObject:true});
const m=houghLines(new Uint8Array(data),info.width,info.height,{rho:q.rho,thetaDegrees:q.theta_degrees,threshold:q.threshold,minLineLength:q.min_line_length,maxLineGap:q.max_line_gap});
console.log(m.length,l.length, m.slice(0,6)); for(let i=0;i<m.length;i++) if(JSON.stringify(m[i])!==JSON.stringify(l[i])){console.log(i,m[i],l[i]);break;}
