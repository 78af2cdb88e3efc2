var<workgroup> shared_v19: array<f32, 72>;
@group(0) @binding(2) var<storage, read_write> v9: array<f32>;
@group(0) @binding(1) var<storage, read> v5: array<f32>;
@group(0) @binding(0) var<storage, read> v1: array<f32>;
struct info_st { scalars_usize: array<u32, 2>, scalars_f32: array<f32, 2>, static_meta: array<u32, 4> }
@group(0) @binding(3) var<storage, read> info_var: info_st;
@compute @workgroup_size(64, 1, 1)
fn forward_f_f32_g_f32(@builtin(local_invocation_index) v999: u32, @builtin(workgroup_id) v1035: vec3<u32>, @builtin(num_workgroups) v1037: vec3<u32>) {
let v1137 = &v9;
let v1138 = &v5;
let v1139 = &v1;
var<function> inv_return_flag_v941_store: bool= true;
let inv_return_flag_v941 = &inv_return_flag_v941_store;
let v3 = u32(0);
let v13 = info_var.scalars_usize[0];
let v14 = info_var.scalars_f32[0];
let v1036 = v1035[2];
let v966 = u32(v1036);
let v1038 = v1037[1];
let v968 = u32(v1038);
let v969 = v966 * v968;
let v1039 = v1037[0];
let v971 = u32(v1039);
let v972 = v969 * v971;
let v1040 = v1035[1];
let v974 = u32(v1040);
let v977 = v974 * v971;
let v978 = v972 + v977;
let v1042 = v1035[0];
let v980 = u32(v1042);
let v981 = v978 + v980;
let v16 = v981 >= v13;
if v16 {
let v17 = false;
*inv_return_flag_v941 = v17;

}
let v18 = *inv_return_flag_v941;
if v18 {
let v945 = &shared_v19;
let v24 = u32(256);
let v25 = v981 * v24;
var<function> v946_store: array<f32, 4>= array<f32, 4>();
let v946 = &v946_store;
let v1000 = v999;
let v31 = u32(v1000);
let v35 = v31 < v24;
var<function> v947_store: f32;
let v947 = &v947_store;
if v35 {
let v36 = v25 + v31;
let v40 = &(*v1139)[v36];
let v41 = *v40;
*v947 = v41;

} else {
let v43 = f32(0.0);
*v947 = v43;

}
let v48 = &(*v946)[v3];
let v49 = *v947;
*v48 = v49;
let v52 = u32(64);
let v53 = v52 + v31;
let v55 = v53 < v24;
var<function> v948_store: f32;
let v948 = &v948_store;
if v55 {
let v56 = v25 + v53;
let v60 = &(*v1139)[v56];
let v61 = *v60;
*v948 = v61;

} else {
let v63 = f32(0.0);
*v948 = v63;

}
let v66 = u32(1);
let v68 = &(*v946)[v66];
let v69 = *v948;
*v68 = v69;
let v72 = u32(128);
let v73 = v72 + v31;
let v75 = v73 < v24;
var<function> v949_store: f32;
let v949 = &v949_store;
if v75 {
let v76 = v25 + v73;
let v80 = &(*v1139)[v76];
let v81 = *v80;
*v949 = v81;

} else {
let v83 = f32(0.0);
*v949 = v83;

}
let v86 = u32(2);
let v88 = &(*v946)[v86];
let v89 = *v949;
*v88 = v89;
let v92 = u32(192);
let v93 = v92 + v31;
let v95 = v93 < v24;
var<function> v950_store: f32;
let v950 = &v950_store;
if v95 {
let v96 = v25 + v93;
let v100 = &(*v1139)[v96];
let v101 = *v100;
*v950 = v101;

} else {
let v103 = f32(0.0);
*v950 = v103;

}
let v106 = u32(3);
let v108 = &(*v946)[v106];
let v109 = *v950;
*v108 = v109;
var<function> v951_store: array<f32, 4>= array<f32, 4>();
let v951 = &v951_store;
var<function> v952_store: f32;
let v952 = &v952_store;
if v35 {
let v125 = &(*v1138)[v31];
let v126 = *v125;
*v952 = v126;

} else {
let v128 = f32(0.0);
*v952 = v128;

}
let v133 = &(*v951)[v3];
let v134 = *v952;
*v133 = v134;
var<function> v953_store: f32;
let v953 = &v953_store;
if v55 {
let v146 = &(*v1138)[v53];
let v147 = *v146;
*v953 = v147;

} else {
let v149 = f32(0.0);
*v953 = v149;

}
let v154 = &(*v951)[v66];
let v155 = *v953;
*v154 = v155;
var<function> v954_store: f32;
let v954 = &v954_store;
if v75 {
let v167 = &(*v1138)[v73];
let v168 = *v167;
*v954 = v168;

} else {
let v170 = f32(0.0);
*v954 = v170;

}
let v175 = &(*v951)[v86];
let v176 = *v954;
*v175 = v176;
var<function> v955_store: f32;
let v955 = &v955_store;
if v95 {
let v188 = &(*v1138)[v93];
let v189 = *v188;
*v955 = v189;

} else {
let v191 = f32(0.0);
*v955 = v191;

}
let v196 = &(*v951)[v106];
let v197 = *v955;
*v196 = v197;
var<function> v956_store: array<f32, 1>= array<f32, 1>();
let v956 = &v956_store;
let v206 = &(*v956)[v3];
let v207 = f32(0.0);
*v206 = v207;
let v213 = *v48;
let v219 = *v206;
let v220 = v219 + v213;
*v206 = v220;
let v226 = *v68;
let v232 = *v206;
let v233 = v232 + v226;
*v206 = v233;
let v239 = *v88;
let v245 = *v206;
let v246 = v245 + v239;
*v206 = v246;
let v252 = *v108;
let v258 = *v206;
let v259 = v258 + v252;
*v206 = v259;
let v267 = *v206;
let v273 = &(*v945)[v31];
*v273 = v267;
workgroupBarrier();
let v274 = u32(8);
let v275 = v31 < v274;
if v275 {
var<function> v957_store: f32;
let v957 = &v957_store;
*v957 = v207;
let v285 = *v273;
let v286 = *v957;
let v287 = v286 + v285;
*v957 = v287;
let v289 = v274 + v31;
let v293 = &(*v945)[v289];
let v294 = *v293;
let v295 = *v957;
let v296 = v295 + v294;
*v957 = v296;
let v297 = u32(16);
let v298 = v297 + v31;
let v302 = &(*v945)[v298];
let v303 = *v302;
let v304 = *v957;
let v305 = v304 + v303;
*v957 = v305;
let v306 = u32(24);
let v307 = v306 + v31;
let v311 = &(*v945)[v307];
let v312 = *v311;
let v313 = *v957;
let v314 = v313 + v312;
*v957 = v314;
let v315 = u32(32);
let v316 = v315 + v31;
let v320 = &(*v945)[v316];
let v321 = *v320;
let v322 = *v957;
let v323 = v322 + v321;
*v957 = v323;
let v324 = u32(40);
let v325 = v324 + v31;
let v329 = &(*v945)[v325];
let v330 = *v329;
let v331 = *v957;
let v332 = v331 + v330;
*v957 = v332;
let v333 = u32(48);
let v334 = v333 + v31;
let v338 = &(*v945)[v334];
let v339 = *v338;
let v340 = *v957;
let v341 = v340 + v339;
*v957 = v341;
let v342 = u32(56);
let v343 = v342 + v31;
let v347 = &(*v945)[v343];
let v348 = *v347;
let v349 = *v957;
let v350 = v349 + v348;
*v957 = v350;
let v356 = &(*v945)[v53];
let v357 = *v957;
*v356 = v357;

}
workgroupBarrier();
var<function> v958_store: f32;
let v958 = &v958_store;
*v958 = v207;
let v365 = &(*v945)[v52];
let v366 = *v365;
let v367 = *v958;
let v368 = v367 + v366;
*v958 = v368;
let v371 = u32(65);
let v373 = &(*v945)[v371];
let v374 = *v373;
let v375 = *v958;
let v376 = v375 + v374;
*v958 = v376;
let v379 = u32(66);
let v381 = &(*v945)[v379];
let v382 = *v381;
let v383 = *v958;
let v384 = v383 + v382;
*v958 = v384;
let v387 = u32(67);
let v389 = &(*v945)[v387];
let v390 = *v389;
let v391 = *v958;
let v392 = v391 + v390;
*v958 = v392;
let v395 = u32(68);
let v397 = &(*v945)[v395];
let v398 = *v397;
let v399 = *v958;
let v400 = v399 + v398;
*v958 = v400;
let v403 = u32(69);
let v405 = &(*v945)[v403];
let v406 = *v405;
let v407 = *v958;
let v408 = v407 + v406;
*v958 = v408;
let v411 = u32(70);
let v413 = &(*v945)[v411];
let v414 = *v413;
let v415 = *v958;
let v416 = v415 + v414;
*v958 = v416;
let v419 = u32(71);
let v421 = &(*v945)[v419];
let v422 = *v421;
let v423 = *v958;
let v424 = v423 + v422;
*v958 = v424;
let v430 = *v958;
*v206 = v430;
let v436 = *v206;
let v1096 = f32(256.0);
let v439 = v436 / v1096;
var<function> v959_store: f32;
let v959 = &v959_store;
if v35 {
let v451 = *v48;
let v452 = v451 - v439;
*v959 = v452;

} else {
*v959 = v207;

}
let v460 = *v959;
*v48 = v460;
var<function> v960_store: f32;
let v960 = &v960_store;
if v55 {
let v472 = *v68;
let v473 = v472 - v439;
*v960 = v473;

} else {
*v960 = v207;

}
let v481 = *v960;
*v68 = v481;
var<function> v961_store: f32;
let v961 = &v961_store;
if v75 {
let v493 = *v88;
let v494 = v493 - v439;
*v961 = v494;

} else {
*v961 = v207;

}
let v502 = *v961;
*v88 = v502;
var<function> v962_store: f32;
let v962 = &v962_store;
if v95 {
let v514 = *v108;
let v515 = v514 - v439;
*v962 = v515;

} else {
*v962 = v207;

}
let v523 = *v962;
*v108 = v523;
*v206 = v207;
let v535 = *v48;
let v548 = *v206;
let v1133 = fma(v535, v535, v548);
*v206 = v1133;
let v555 = *v68;
let v568 = *v206;
let v1134 = fma(v555, v555, v568);
*v206 = v1134;
let v575 = *v88;
let v588 = *v206;
let v1135 = fma(v575, v575, v588);
*v206 = v1135;
let v595 = *v108;
let v608 = *v206;
let v1136 = fma(v595, v595, v608);
*v206 = v1136;
let v617 = *v206;
*v273 = v617;
workgroupBarrier();
if v275 {
var<function> v963_store: f32;
let v963 = &v963_store;
*v963 = v207;
let v635 = *v273;
let v636 = *v963;
let v637 = v636 + v635;
*v963 = v637;
let v639 = v274 + v31;
let v643 = &(*v945)[v639];
let v644 = *v643;
let v645 = *v963;
let v646 = v645 + v644;
*v963 = v646;
let v647 = u32(16);
let v648 = v647 + v31;
let v652 = &(*v945)[v648];
let v653 = *v652;
let v654 = *v963;
let v655 = v654 + v653;
*v963 = v655;
let v656 = u32(24);
let v657 = v656 + v31;
let v661 = &(*v945)[v657];
let v662 = *v661;
let v663 = *v963;
let v664 = v663 + v662;
*v963 = v664;
let v665 = u32(32);
let v666 = v665 + v31;
let v670 = &(*v945)[v666];
let v671 = *v670;
let v672 = *v963;
let v673 = v672 + v671;
*v963 = v673;
let v674 = u32(40);
let v675 = v674 + v31;
let v679 = &(*v945)[v675];
let v680 = *v679;
let v681 = *v963;
let v682 = v681 + v680;
*v963 = v682;
let v683 = u32(48);
let v684 = v683 + v31;
let v688 = &(*v945)[v684];
let v689 = *v688;
let v690 = *v963;
let v691 = v690 + v689;
*v963 = v691;
let v692 = u32(56);
let v693 = v692 + v31;
let v697 = &(*v945)[v693];
let v698 = *v697;
let v699 = *v963;
let v700 = v699 + v698;
*v963 = v700;
let v706 = &(*v945)[v53];
let v707 = *v963;
*v706 = v707;

}
workgroupBarrier();
var<function> v964_store: f32;
let v964 = &v964_store;
*v964 = v207;
let v716 = *v365;
let v717 = *v964;
let v718 = v717 + v716;
*v964 = v718;
let v724 = *v373;
let v725 = *v964;
let v726 = v725 + v724;
*v964 = v726;
let v732 = *v381;
let v733 = *v964;
let v734 = v733 + v732;
*v964 = v734;
let v740 = *v389;
let v741 = *v964;
let v742 = v741 + v740;
*v964 = v742;
let v748 = *v397;
let v749 = *v964;
let v750 = v749 + v748;
*v964 = v750;
let v756 = *v405;
let v757 = *v964;
let v758 = v757 + v756;
*v964 = v758;
let v764 = *v413;
let v765 = *v964;
let v766 = v765 + v764;
*v964 = v766;
let v772 = *v421;
let v773 = *v964;
let v774 = v773 + v772;
*v964 = v774;
let v780 = *v964;
*v206 = v780;
let v786 = *v206;
let v789 = v786 / v1096;
let v790 = v789 + v14;
let v791 = sqrt(v790);
let v792 = f32(1.0);
let v793 = v792 / v791;
let v799 = *v48;
let v800 = v799 * v793;
let v806 = *v133;
let v807 = v800 * v806;
*v48 = v807;
let v818 = *v68;
let v819 = v818 * v793;
let v825 = *v154;
let v826 = v819 * v825;
*v68 = v826;
let v837 = *v88;
let v838 = v837 * v793;
let v844 = *v175;
let v845 = v838 * v844;
*v88 = v845;
let v856 = *v108;
let v857 = v856 * v793;
let v863 = *v196;
let v864 = v857 * v863;
*v108 = v864;
if v35 {
let v884 = *v48;
let v885 = v25 + v31;
let v889 = &(*v1137)[v885];
*v889 = v884;

}
if v55 {
let v901 = *v68;
let v902 = v25 + v53;
let v906 = &(*v1137)[v902];
*v906 = v901;

}
if v75 {
let v918 = *v88;
let v919 = v25 + v73;
let v923 = &(*v1137)[v919];
*v923 = v918;

}
if v95 {
let v935 = *v108;
let v936 = v25 + v93;
let v940 = &(*v1137)[v936];
*v940 = v935;

}

}
return;

}
