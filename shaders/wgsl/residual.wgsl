@group(0) @binding(2) var<storage, read_write> v9: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> v5: array<vec4<f32>>;
@group(0) @binding(0) var<storage, read> v1: array<vec4<f32>>;
struct info_st { scalars_usize: array<u32, 2>, static_meta: array<u32, 4> }
@group(0) @binding(3) var<storage, read> info_var: info_st;
@compute @workgroup_size(64, 1, 1)
fn add_f_f32_n_4(@builtin(local_invocation_index) v115: u32, @builtin(workgroup_id) v117: vec3<u32>, @builtin(num_workgroups) v119: vec3<u32>) {
let v125 = &v9;
let v126 = &v5;
let v127 = &v1;
let v13 = info_var.scalars_usize[0];
let v118 = v117[2];
let v99 = u32(v118);
let v120 = v119[1];
let v101 = u32(v120);
let v102 = v99 * v101;
let v121 = v119[0];
let v104 = u32(v121);
let v105 = v102 * v104;
let v122 = v117[1];
let v107 = u32(v122);
let v110 = v107 * v104;
let v111 = v105 + v110;
let v124 = v117[0];
let v113 = u32(v124);
let v114 = v111 + v113;
let v15 = u32(4);
let v16 = v114 * v15;
let v17 = u32(64);
let v18 = v16 * v17;
let v116 = v115;
let v20 = u32(v116);
let v21 = v18 + v20;
let v24 = v21 < v13;
if v24 {
let v28 = &(*v127)[v21];
let v29 = *v28;
let v33 = &(*v126)[v21];
let v34 = *v33;
let v35 = v29 + v34;
let v39 = &(*v125)[v21];
*v39 = v35;

}
let v41 = v21 + v17;
let v42 = v41 < v13;
if v42 {
let v46 = &(*v127)[v41];
let v47 = *v46;
let v51 = &(*v126)[v41];
let v52 = *v51;
let v53 = v47 + v52;
let v57 = &(*v125)[v41];
*v57 = v53;

}
let v58 = u32(128);
let v59 = v21 + v58;
let v60 = v59 < v13;
if v60 {
let v64 = &(*v127)[v59];
let v65 = *v64;
let v69 = &(*v126)[v59];
let v70 = *v69;
let v71 = v65 + v70;
let v75 = &(*v125)[v59];
*v75 = v71;

}
let v76 = u32(192);
let v77 = v21 + v76;
let v78 = v77 < v13;
if v78 {
let v82 = &(*v127)[v77];
let v83 = *v82;
let v87 = &(*v126)[v77];
let v88 = *v87;
let v89 = v83 + v88;
let v93 = &(*v125)[v77];
*v93 = v89;

}
return;

}
