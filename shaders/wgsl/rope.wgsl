@group(0) @binding(2) var<storage, read> v9: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> v5: array<vec4<f32>>;
@group(0) @binding(0) var<storage, read_write> v1: array<vec4<f32>>;
struct info_st { scalars_usize: array<u32, 2>, scalars_f32: array<f32, 2>, static_meta: array<u32, 4> }
@group(0) @binding(3) var<storage, read> info_var: info_st;
@compute @workgroup_size(64, 1, 1)
fn rotate_f_f32_n_4(@builtin(local_invocation_index) v166: u32, @builtin(workgroup_id) v168: vec3<u32>, @builtin(num_workgroups) v170: vec3<u32>) {
let v182 = &v9;
let v183 = &v5;
let v184 = &v1;
let v13 = info_var.scalars_usize[0];
let v14 = info_var.scalars_f32[0];
let v169 = v168[2];
let v150 = u32(v169);
let v171 = v170[1];
let v152 = u32(v171);
let v153 = v150 * v152;
let v172 = v170[0];
let v155 = u32(v172);
let v156 = v153 * v155;
let v173 = v168[1];
let v158 = u32(v173);
let v161 = v158 * v155;
let v162 = v156 + v161;
let v175 = v168[0];
let v164 = u32(v175);
let v165 = v162 + v164;
let v16 = u32(2);
let v17 = v165 * v16;
let v18 = u32(64);
let v19 = v17 * v18;
let v167 = v166;
let v21 = u32(v167);
let v22 = v19 + v21;
let v25 = v22 < v13;
if v25 {
let v26 = u32(8);
let v27 = v22 / v26;
let v29 = v22 % v26;
let v31 = v27 / v26;
let v33 = v31 * v26;
let v34 = v33 + v29;
let v38 = &(*v183)[v34];
let v39 = *v38;
let v46 = &(*v182)[v34];
let v47 = *v46;
let v48 = vec4<f32>(v14);
let v49 = v47 * v48;
let v50 = u32(4);
let v51 = v31 * v50;
let v52 = v27 + v51;
let v54 = v52 * v16;
let v56 = v54 * v26;
let v57 = v56 + v29;
let v59 = v57 + v26;
let v63 = &(*v184)[v57];
let v64 = *v63;
let v68 = &(*v184)[v59];
let v69 = *v68;
let v71 = v69 * v49;
let v176 = -v71;
let v177 = fma(v64, v39, v176);
*v63 = v177;
let v78 = v64 * v49;
let v178 = fma(v69, v39, v78);
*v68 = v178;

}
let v85 = v22 + v18;
let v86 = v85 < v13;
if v86 {
let v87 = u32(8);
let v88 = v85 / v87;
let v90 = v85 % v87;
let v92 = v88 / v87;
let v94 = v92 * v87;
let v95 = v94 + v90;
let v99 = &(*v183)[v95];
let v100 = *v99;
let v107 = &(*v182)[v95];
let v108 = *v107;
let v109 = vec4<f32>(v14);
let v110 = v108 * v109;
let v111 = u32(4);
let v112 = v92 * v111;
let v113 = v88 + v112;
let v115 = v113 * v16;
let v117 = v115 * v87;
let v118 = v117 + v90;
let v120 = v118 + v87;
let v124 = &(*v184)[v118];
let v125 = *v124;
let v129 = &(*v184)[v120];
let v130 = *v129;
let v132 = v130 * v110;
let v179 = -v132;
let v180 = fma(v125, v100, v179);
*v124 = v180;
let v139 = v125 * v110;
let v181 = fma(v130, v100, v139);
*v129 = v181;

}
return;

}
