var<workgroup> shared_v19: array<f32, 1152>;
var<workgroup> shared_v23: array<f32, 1152>;
var<workgroup> shared_v27: array<f32, 320>;
var<workgroup> shared_v31: array<f32, 384>;
var<workgroup> shared_v35: array<f32, 16>;
var<workgroup> shared_v39: array<f32, 32>;
@group(0) @binding(3) var<storage, read_write> v13: array<f32>;
@group(0) @binding(2) var<storage, read_write> v9: array<f32>;
@group(0) @binding(1) var<storage, read> v5: array<i32>;
@group(0) @binding(0) var<storage, read> v1: array<f32>;
struct info_st { scalars_usize: array<u32, 2>, static_meta: array<u32, 4> }
@group(0) @binding(4) var<storage, read> info_var: info_st;
@compute @workgroup_size(32, 1, 1)
fn forward_f_f32_w_f32_n_1_m_1(@builtin(workgroup_id) v4573: vec3<u32>, @builtin(local_invocation_index) v4576: u32) {
let v4991 = &v13;
let v4992 = &v9;
let v4993 = &v5;
let v4994 = &v1;
let v3 = u32(0);
let v17 = info_var.scalars_usize[0];
let v18 = info_var.scalars_usize[1];
let v4531 = &shared_v19;
let v4532 = &shared_v23;
let v4533 = &shared_v27;
let v4534 = &shared_v31;
let v4535 = &shared_v35;
let v37 = u32(16);
let v4536 = &shared_v39;
let v41 = u32(32);
let v4574 = v4573[0];
let v44 = u32(v4574);
let v46 = v44 * v37;
let v4575 = v4573[1];
let v48 = u32(v4575);
let v4577 = v4576;
let v50 = u32(v4577);
let v52 = v50 / v41;
let v54 = v52 * v37;
let v58 = v50 % v41;
let v60 = v58 % v37;
let v61 = v54 + v60;
let v62 = v46 + v61;
let v63 = u32(1);
let v64 = v17 - v63;
let v65 = min(v62, v64);
let v69 = &(*v4993)[v65];
let v70 = *v69;
let v71 = u32(v70);
let v72 = v17 + v65;
let v76 = &(*v4993)[v72];
let v77 = *v76;
let v78 = u32(v77);
let v79 = v71 + v18;
let v80 = v62 > v79;
var<function> v4537_store: u32;
let v4537 = &v4537_store;
if v80 {
let v81 = v62 - v18;
*v4537 = v81;

} else {
*v4537 = v71;

}
let v83 = v62 < v17;
var<function> v4538_store: u32;
let v4538 = &v4538_store;
if v83 {
let v84 = v62 + v18;
let v86 = v84 + v63;
let v87 = min(v86, v78);
*v4538 = v87;

} else {
let v89 = *v4537;
*v4538 = v89;

}
let v91 = v46 + v37;
let v92 = min(v91, v17);
let v94 = v92 - v63;
let v97 = min(v46, v64);
let v101 = &(*v4993)[v97];
let v102 = *v101;
let v103 = u32(v102);
let v104 = v17 + v97;
let v108 = &(*v4993)[v104];
let v109 = *v108;
let v110 = u32(v109);
let v111 = v103 + v18;
let v112 = v46 > v111;
var<function> v4539_store: u32;
let v4539 = &v4539_store;
if v112 {
let v113 = v46 - v18;
*v4539 = v113;

} else {
*v4539 = v103;

}
let v115 = v46 < v17;
var<function> v4540_store: u32;
let v4540 = &v4540_store;
if v115 {
let v116 = v46 + v18;
let v118 = v116 + v63;
let v119 = min(v118, v110);
*v4540 = v119;

} else {
let v121 = *v4539;
*v4540 = v121;

}
let v124 = min(v94, v64);
let v128 = &(*v4993)[v124];
let v129 = *v128;
let v130 = u32(v129);
let v131 = v17 + v124;
let v135 = &(*v4993)[v131];
let v136 = *v135;
let v137 = u32(v136);
let v138 = v130 + v18;
let v139 = v94 > v138;
var<function> v4541_store: u32;
let v4541 = &v4541_store;
if v139 {
let v140 = v94 - v18;
*v4541 = v140;

} else {
*v4541 = v130;

}
let v142 = v94 < v17;
var<function> v4542_store: u32;
let v4542 = &v4542_store;
if v142 {
let v143 = v94 + v18;
let v145 = v143 + v63;
let v146 = min(v145, v137);
*v4542 = v146;

} else {
let v148 = *v4541;
*v4542 = v148;

}
let v149 = u32(64);
let v150 = v48 * v149;
let v4715 = f32(8.0);
let v154 = f32(1.0);
let v4714 = f32(0.125);
let v161 = v58 / v37;
let v166 = u32(1024);
for(var v167: u32 = v50; v167 < v166; v167 += v41) {
let v170 = v167 / v149;
let v172 = v167 % v149;
let v173 = v46 + v170;
let v174 = f32(0.0);
var<function> v4544_store: f32;
let v4544 = &v4544_store;
*v4544 = v174;
let v176 = v173 < v17;
let v178 = v172 < v149;
let v179 = v176 && v178;
if v179 {
let v180 = u32(768);
let v181 = v173 * v180;
let v184 = v181 + v150;
let v185 = v184 + v172;
let v189 = &(*v4994)[v185];
let v190 = *v189;
*v4544 = v190;

}
let v191 = u32(72);
let v192 = v170 * v191;
let v193 = v192 + v172;
let v197 = &(*v4531)[v193];
let v198 = *v4544;
*v197 = v198;

}
var<function> v4545_store: array<f32, 32>= array<f32, 32>();
let v4545 = &v4545_store;
let v207 = &(*v4545)[v3];
let v208 = f32(0.0);
*v207 = v208;
let v213 = &(*v4545)[v63];
*v213 = v208;
let v217 = u32(2);
let v219 = &(*v4545)[v217];
*v219 = v208;
let v223 = u32(3);
let v225 = &(*v4545)[v223];
*v225 = v208;
let v229 = u32(4);
let v231 = &(*v4545)[v229];
*v231 = v208;
let v235 = u32(5);
let v237 = &(*v4545)[v235];
*v237 = v208;
let v241 = u32(6);
let v243 = &(*v4545)[v241];
*v243 = v208;
let v247 = u32(7);
let v249 = &(*v4545)[v247];
*v249 = v208;
let v253 = u32(8);
let v255 = &(*v4545)[v253];
*v255 = v208;
let v259 = u32(9);
let v261 = &(*v4545)[v259];
*v261 = v208;
let v265 = u32(10);
let v267 = &(*v4545)[v265];
*v267 = v208;
let v271 = u32(11);
let v273 = &(*v4545)[v271];
*v273 = v208;
let v277 = u32(12);
let v279 = &(*v4545)[v277];
*v279 = v208;
let v283 = u32(13);
let v285 = &(*v4545)[v283];
*v285 = v208;
let v289 = u32(14);
let v291 = &(*v4545)[v289];
*v291 = v208;
let v295 = u32(15);
let v297 = &(*v4545)[v295];
*v297 = v208;
let v303 = &(*v4545)[v37];
*v303 = v208;
let v307 = u32(17);
let v309 = &(*v4545)[v307];
*v309 = v208;
let v313 = u32(18);
let v315 = &(*v4545)[v313];
*v315 = v208;
let v319 = u32(19);
let v321 = &(*v4545)[v319];
*v321 = v208;
let v325 = u32(20);
let v327 = &(*v4545)[v325];
*v327 = v208;
let v331 = u32(21);
let v333 = &(*v4545)[v331];
*v333 = v208;
let v337 = u32(22);
let v339 = &(*v4545)[v337];
*v339 = v208;
let v343 = u32(23);
let v345 = &(*v4545)[v343];
*v345 = v208;
let v349 = u32(24);
let v351 = &(*v4545)[v349];
*v351 = v208;
let v355 = u32(25);
let v357 = &(*v4545)[v355];
*v357 = v208;
let v361 = u32(26);
let v363 = &(*v4545)[v361];
*v363 = v208;
let v367 = u32(27);
let v369 = &(*v4545)[v367];
*v369 = v208;
let v373 = u32(28);
let v375 = &(*v4545)[v373];
*v375 = v208;
let v379 = u32(29);
let v381 = &(*v4545)[v379];
*v381 = v208;
let v385 = u32(30);
let v387 = &(*v4545)[v385];
*v387 = v208;
let v391 = u32(31);
let v393 = &(*v4545)[v391];
*v393 = v208;
let v395 = f32(-1.0000000200408773e20);
var<function> v4546_store: f32;
let v4546 = &v4546_store;
*v4546 = v395;
var<function> v4547_store: f32;
let v4547 = &v4547_store;
*v4547 = v208;
let v401 = *v4539;
let v402 = *v4542;
for(var v404: u32 = v401; v404 < v402; v404 += v37) {
workgroupBarrier();
let v406 = u32(256);
let v407 = v150 + v406;
for(var v413: u32 = v50; v413 < v166; v413 += v41) {
let v416 = v413 / v149;
let v418 = v413 % v149;
let v419 = v404 + v416;
var<function> v4550_store: f32;
let v4550 = &v4550_store;
*v4550 = v208;
let v422 = v419 < v17;
let v424 = v418 < v149;
let v425 = v422 && v424;
if v425 {
let v426 = u32(768);
let v427 = v419 * v426;
let v430 = v427 + v407;
let v431 = v430 + v418;
let v435 = &(*v4994)[v431];
let v436 = *v435;
*v4550 = v436;

}
let v437 = u32(72);
let v438 = v416 * v437;
let v439 = v438 + v418;
let v443 = &(*v4532)[v439];
let v444 = *v4550;
*v443 = v444;

}
workgroupBarrier();
var<function> v4551_store: array<f32, 8>= array<f32, 8>();
let v4551 = &v4551_store;
let v453 = &(*v4551)[v3];
*v453 = v208;
let v459 = &(*v4551)[v63];
*v459 = v208;
let v465 = &(*v4551)[v217];
*v465 = v208;
let v471 = &(*v4551)[v223];
*v471 = v208;
let v477 = &(*v4551)[v229];
*v477 = v208;
let v483 = &(*v4551)[v235];
*v483 = v208;
let v489 = &(*v4551)[v241];
*v489 = v208;
let v495 = &(*v4551)[v247];
*v495 = v208;
let v497 = u32(72);
let v498 = v54 * v497;
let v510 = v58 / v253;
let v512 = v510 * v229;
let v518 = v58 % v253;
for(var v522: u32 = v3; v522 < v149; v522 += v63) {
var<function> v4553_store: array<f32, 4>= array<f32, 4>();
let v4553 = &v4553_store;
let v531 = v512 * v497;
let v532 = v531 + v522;
let v535 = v498 + v532;
let v536 = &(*v4531)[v535];
let v537 = *v536;
let v542 = &(*v4553)[v3];
*v542 = v537;
let v544 = v512 + v63;
let v546 = v544 * v497;
let v547 = v546 + v522;
let v550 = v498 + v547;
let v551 = &(*v4531)[v550];
let v552 = *v551;
let v557 = &(*v4553)[v63];
*v557 = v552;
let v559 = v512 + v217;
let v561 = v559 * v497;
let v562 = v561 + v522;
let v565 = v498 + v562;
let v566 = &(*v4531)[v565];
let v567 = *v566;
let v572 = &(*v4553)[v217];
*v572 = v567;
let v574 = v512 + v223;
let v576 = v574 * v497;
let v577 = v576 + v522;
let v580 = v498 + v577;
let v581 = &(*v4531)[v580];
let v582 = *v581;
let v587 = &(*v4553)[v223];
*v587 = v582;
let v591 = v518 * v497;
let v592 = v591 + v522;
let v596 = &(*v4532)[v592];
let v597 = *v596;
let v603 = *v542;
let v610 = *v453;
let v4951 = fma(v603, v597, v610);
*v453 = v4951;
let v617 = *v557;
let v624 = *v459;
let v4952 = fma(v617, v597, v624);
*v459 = v4952;
let v631 = *v572;
let v638 = *v465;
let v4953 = fma(v631, v597, v638);
*v465 = v4953;
let v645 = *v587;
let v652 = *v471;
let v4954 = fma(v645, v597, v652);
*v471 = v4954;
let v655 = v518 + v253;
let v657 = v655 * v497;
let v658 = v657 + v522;
let v662 = &(*v4532)[v658];
let v663 = *v662;
let v669 = *v542;
let v676 = *v477;
let v4955 = fma(v669, v663, v676);
*v477 = v4955;
let v683 = *v557;
let v690 = *v483;
let v4956 = fma(v683, v663, v690);
*v483 = v4956;
let v697 = *v572;
let v704 = *v489;
let v4957 = fma(v697, v663, v704);
*v489 = v4957;
let v711 = *v587;
let v718 = *v495;
let v4958 = fma(v711, v663, v718);
*v495 = v4958;

}
var<function> v4554_store: array<f32, 8>= array<f32, 8>();
let v4554 = &v4554_store;
let v731 = v54 * v325;
let v753 = *v453;
let v757 = v512 * v325;
let v758 = v731 + v757;
let v759 = v758 + v518;
let v765 = &(*v4533)[v759];
*v765 = v753;
let v771 = *v459;
let v773 = v512 + v63;
let v775 = v773 * v325;
let v776 = v731 + v775;
let v777 = v776 + v518;
let v783 = &(*v4533)[v777];
*v783 = v771;
let v789 = *v465;
let v791 = v512 + v217;
let v793 = v791 * v325;
let v794 = v731 + v793;
let v795 = v794 + v518;
let v801 = &(*v4533)[v795];
*v801 = v789;
let v807 = *v471;
let v809 = v512 + v223;
let v811 = v809 * v325;
let v812 = v731 + v811;
let v813 = v812 + v518;
let v819 = &(*v4533)[v813];
*v819 = v807;
let v825 = *v477;
let v833 = v759 + v253;
let v837 = &(*v4533)[v833];
*v837 = v825;
let v843 = *v483;
let v851 = v777 + v253;
let v855 = &(*v4533)[v851];
*v855 = v843;
let v861 = *v489;
let v869 = v795 + v253;
let v873 = &(*v4533)[v869];
*v873 = v861;
let v879 = *v495;
let v887 = v813 + v253;
let v891 = &(*v4533)[v887];
*v891 = v879;
workgroupBarrier();
let v900 = v61 * v325;
let v908 = v161 * v253;
let v911 = v900 + v908;
let v919 = &(*v4533)[v911];
let v920 = *v919;
let v925 = &(*v4554)[v3];
*v925 = v920;
let v929 = v911 + v63;
let v933 = &(*v4533)[v929];
let v934 = *v933;
let v939 = &(*v4554)[v63];
*v939 = v934;
let v943 = v911 + v217;
let v947 = &(*v4533)[v943];
let v948 = *v947;
let v953 = &(*v4554)[v217];
*v953 = v948;
let v957 = v911 + v223;
let v961 = &(*v4533)[v957];
let v962 = *v961;
let v967 = &(*v4554)[v223];
*v967 = v962;
let v971 = v911 + v229;
let v975 = &(*v4533)[v971];
let v976 = *v975;
let v981 = &(*v4554)[v229];
*v981 = v976;
let v985 = v911 + v235;
let v989 = &(*v4533)[v985];
let v990 = *v989;
let v995 = &(*v4554)[v235];
*v995 = v990;
let v999 = v911 + v241;
let v1003 = &(*v4533)[v999];
let v1004 = *v1003;
let v1009 = &(*v4554)[v241];
*v1009 = v1004;
let v1013 = v911 + v247;
let v1017 = &(*v4533)[v1013];
let v1018 = *v1017;
let v1023 = &(*v4554)[v247];
*v1023 = v1018;
let v1024 = u32(512);
let v1025 = v150 + v1024;
for(var v1031: u32 = v50; v1031 < v166; v1031 += v41) {
let v1034 = v1031 / v149;
let v1036 = v1031 % v149;
let v1037 = v404 + v1034;
var<function> v4556_store: f32;
let v4556 = &v4556_store;
*v4556 = v208;
let v1040 = v1037 < v17;
let v1042 = v1036 < v149;
let v1043 = v1040 && v1042;
if v1043 {
let v1044 = u32(768);
let v1045 = v1037 * v1044;
let v1048 = v1045 + v1025;
let v1049 = v1048 + v1036;
let v1053 = &(*v4994)[v1049];
let v1054 = *v1053;
*v4556 = v1054;

}
let v1056 = v1034 * v497;
let v1057 = v1056 + v1036;
let v1061 = &(*v4532)[v1057];
let v1062 = *v4556;
*v1061 = v1062;

}
let v1073 = v404 + v908;
let v1076 = *v4537;
let v1077 = v1073 >= v1076;
let v1080 = *v4538;
let v1081 = v1073 < v1080;
let v1082 = v1077 && v1081;
var<function> v4557_store: f32;
let v4557 = &v4557_store;
if v1082 {
let v1088 = *v925;
let v1089 = v1088 * v4714;
*v4557 = v1089;

} else {
let v1091 = f32(-1.0000000150474662e30);
*v4557 = v1091;

}
let v1097 = *v4557;
*v925 = v1097;
let v1099 = v1073 + v63;
let v1100 = *v4537;
let v1101 = v1099 >= v1100;
let v1104 = *v4538;
let v1105 = v1099 < v1104;
let v1106 = v1101 && v1105;
var<function> v4558_store: f32;
let v4558 = &v4558_store;
if v1106 {
let v1112 = *v939;
let v1113 = v1112 * v4714;
*v4558 = v1113;

} else {
let v1115 = f32(-1.0000000150474662e30);
*v4558 = v1115;

}
let v1121 = *v4558;
*v939 = v1121;
let v1123 = v1073 + v217;
let v1124 = *v4537;
let v1125 = v1123 >= v1124;
let v1128 = *v4538;
let v1129 = v1123 < v1128;
let v1130 = v1125 && v1129;
var<function> v4559_store: f32;
let v4559 = &v4559_store;
if v1130 {
let v1136 = *v953;
let v1137 = v1136 * v4714;
*v4559 = v1137;

} else {
let v1139 = f32(-1.0000000150474662e30);
*v4559 = v1139;

}
let v1145 = *v4559;
*v953 = v1145;
let v1147 = v1073 + v223;
let v1148 = *v4537;
let v1149 = v1147 >= v1148;
let v1152 = *v4538;
let v1153 = v1147 < v1152;
let v1154 = v1149 && v1153;
var<function> v4560_store: f32;
let v4560 = &v4560_store;
if v1154 {
let v1160 = *v967;
let v1161 = v1160 * v4714;
*v4560 = v1161;

} else {
let v1163 = f32(-1.0000000150474662e30);
*v4560 = v1163;

}
let v1169 = *v4560;
*v967 = v1169;
let v1171 = v1073 + v229;
let v1172 = *v4537;
let v1173 = v1171 >= v1172;
let v1176 = *v4538;
let v1177 = v1171 < v1176;
let v1178 = v1173 && v1177;
var<function> v4561_store: f32;
let v4561 = &v4561_store;
if v1178 {
let v1184 = *v981;
let v1185 = v1184 * v4714;
*v4561 = v1185;

} else {
let v1187 = f32(-1.0000000150474662e30);
*v4561 = v1187;

}
let v1193 = *v4561;
*v981 = v1193;
let v1195 = v1073 + v235;
let v1196 = *v4537;
let v1197 = v1195 >= v1196;
let v1200 = *v4538;
let v1201 = v1195 < v1200;
let v1202 = v1197 && v1201;
var<function> v4562_store: f32;
let v4562 = &v4562_store;
if v1202 {
let v1208 = *v995;
let v1209 = v1208 * v4714;
*v4562 = v1209;

} else {
let v1211 = f32(-1.0000000150474662e30);
*v4562 = v1211;

}
let v1217 = *v4562;
*v995 = v1217;
let v1219 = v1073 + v241;
let v1220 = *v4537;
let v1221 = v1219 >= v1220;
let v1224 = *v4538;
let v1225 = v1219 < v1224;
let v1226 = v1221 && v1225;
var<function> v4563_store: f32;
let v4563 = &v4563_store;
if v1226 {
let v1232 = *v1009;
let v1233 = v1232 * v4714;
*v4563 = v1233;

} else {
let v1235 = f32(-1.0000000150474662e30);
*v4563 = v1235;

}
let v1241 = *v4563;
*v1009 = v1241;
let v1243 = v1073 + v247;
let v1244 = *v4537;
let v1245 = v1243 >= v1244;
let v1248 = *v4538;
let v1249 = v1243 < v1248;
let v1250 = v1245 && v1249;
var<function> v4564_store: f32;
let v4564 = &v4564_store;
if v1250 {
let v1256 = *v1023;
let v1257 = v1256 * v4714;
*v4564 = v1257;

} else {
let v1259 = f32(-1.0000000150474662e30);
*v4564 = v1259;

}
let v1265 = *v4564;
*v1023 = v1265;
let v1266 = f32(-1.0000000150474662e30);
var<function> v4565_store: f32;
let v4565 = &v4565_store;
*v4565 = v1266;
let v1274 = *v925;
let v1275 = *v4565;
let v1276 = max(v1275, v1274);
*v4565 = v1276;
let v1282 = *v939;
let v1283 = *v4565;
let v1284 = max(v1283, v1282);
*v4565 = v1284;
let v1290 = *v953;
let v1291 = *v4565;
let v1292 = max(v1291, v1290);
*v4565 = v1292;
let v1298 = *v967;
let v1299 = *v4565;
let v1300 = max(v1299, v1298);
*v4565 = v1300;
let v1306 = *v981;
let v1307 = *v4565;
let v1308 = max(v1307, v1306);
*v4565 = v1308;
let v1314 = *v995;
let v1315 = *v4565;
let v1316 = max(v1315, v1314);
*v4565 = v1316;
let v1322 = *v1009;
let v1323 = *v4565;
let v1324 = max(v1323, v1322);
*v4565 = v1324;
let v1330 = *v1023;
let v1331 = *v4565;
let v1332 = max(v1331, v1330);
*v4565 = v1332;
let v1338 = &(*v4536)[v50];
let v1339 = *v4565;
*v1338 = v1339;
workgroupBarrier();
let v1345 = v52 * v41;
let v1351 = v58 + v37;
let v1353 = v1351 % v41;
let v1354 = v1345 + v1353;
let v1358 = &(*v4536)[v1354];
let v1359 = *v1358;
workgroupBarrier();
let v1360 = *v4565;
let v1361 = max(v1360, v1359);
*v4565 = v1361;
var<function> v4566_store: f32;
let v4566 = &v4566_store;
*v4566 = v154;
let v1365 = *v4546;
let v1367 = v1365 + v4715;
let v1368 = *v4565;
let v1369 = v1368 > v1367;
if v1369 {
let v1372 = v1365 - v1368;
let v1373 = exp(v1372);
*v4566 = v1373;
let v1374 = *v4565;
*v4546 = v1374;

}
let v1375 = *v4547;
let v1376 = *v4566;
let v1377 = v1375 * v1376;
*v4547 = v1377;
let v1383 = *v925;
let v1384 = *v4546;
let v1385 = v1383 - v1384;
let v1386 = exp(v1385);
*v925 = v1386;
let v1397 = *v925;
let v1398 = *v4547;
let v1399 = v1398 + v1397;
*v4547 = v1399;
let v1405 = *v939;
let v1406 = *v4546;
let v1407 = v1405 - v1406;
let v1408 = exp(v1407);
*v939 = v1408;
let v1419 = *v939;
let v1420 = *v4547;
let v1421 = v1420 + v1419;
*v4547 = v1421;
let v1427 = *v953;
let v1428 = *v4546;
let v1429 = v1427 - v1428;
let v1430 = exp(v1429);
*v953 = v1430;
let v1441 = *v953;
let v1442 = *v4547;
let v1443 = v1442 + v1441;
*v4547 = v1443;
let v1449 = *v967;
let v1450 = *v4546;
let v1451 = v1449 - v1450;
let v1452 = exp(v1451);
*v967 = v1452;
let v1463 = *v967;
let v1464 = *v4547;
let v1465 = v1464 + v1463;
*v4547 = v1465;
let v1471 = *v981;
let v1472 = *v4546;
let v1473 = v1471 - v1472;
let v1474 = exp(v1473);
*v981 = v1474;
let v1485 = *v981;
let v1486 = *v4547;
let v1487 = v1486 + v1485;
*v4547 = v1487;
let v1493 = *v995;
let v1494 = *v4546;
let v1495 = v1493 - v1494;
let v1496 = exp(v1495);
*v995 = v1496;
let v1507 = *v995;
let v1508 = *v4547;
let v1509 = v1508 + v1507;
*v4547 = v1509;
let v1515 = *v1009;
let v1516 = *v4546;
let v1517 = v1515 - v1516;
let v1518 = exp(v1517);
*v1009 = v1518;
let v1529 = *v1009;
let v1530 = *v4547;
let v1531 = v1530 + v1529;
*v4547 = v1531;
let v1537 = *v1023;
let v1538 = *v4546;
let v1539 = v1537 - v1538;
let v1540 = exp(v1539);
*v1023 = v1540;
let v1551 = *v1023;
let v1552 = *v4547;
let v1553 = v1552 + v1551;
*v4547 = v1553;
let v1568 = v61 * v349;
let v1579 = v1568 + v908;
let v1585 = *v925;
let v1591 = &(*v4534)[v1579];
*v1591 = v1585;
let v1597 = *v939;
let v1599 = v1579 + v63;
let v1603 = &(*v4534)[v1599];
*v1603 = v1597;
let v1609 = *v953;
let v1611 = v1579 + v217;
let v1615 = &(*v4534)[v1611];
*v1615 = v1609;
let v1621 = *v967;
let v1623 = v1579 + v223;
let v1627 = &(*v4534)[v1623];
*v1627 = v1621;
let v1633 = *v981;
let v1635 = v1579 + v229;
let v1639 = &(*v4534)[v1635];
*v1639 = v1633;
let v1645 = *v995;
let v1647 = v1579 + v235;
let v1651 = &(*v4534)[v1647];
*v1651 = v1645;
let v1657 = *v1009;
let v1659 = v1579 + v241;
let v1663 = &(*v4534)[v1659];
*v1663 = v1657;
let v1669 = *v1023;
let v1671 = v1579 + v247;
let v1675 = &(*v4534)[v1671];
*v1675 = v1669;
let v1677 = v161 == v3;
if v1677 {
let v1681 = &(*v4535)[v61];
let v1682 = *v4566;
*v1681 = v1682;

}
workgroupBarrier();
let v1693 = v54 + v512;
let v1699 = &(*v4535)[v1693];
let v1700 = *v1699;
let v1706 = *v207;
let v1707 = v1706 * v1700;
*v207 = v1707;
let v1713 = *v231;
let v1714 = v1713 * v1700;
*v231 = v1714;
let v1720 = *v255;
let v1721 = v1720 * v1700;
*v255 = v1721;
let v1727 = *v279;
let v1728 = v1727 * v1700;
*v279 = v1728;
let v1734 = *v303;
let v1735 = v1734 * v1700;
*v303 = v1735;
let v1741 = *v327;
let v1742 = v1741 * v1700;
*v327 = v1742;
let v1748 = *v351;
let v1749 = v1748 * v1700;
*v351 = v1749;
let v1755 = *v375;
let v1756 = v1755 * v1700;
*v375 = v1756;
let v1759 = v1693 + v63;
let v1763 = &(*v4535)[v1759];
let v1764 = *v1763;
let v1770 = *v213;
let v1771 = v1770 * v1764;
*v213 = v1771;
let v1777 = *v237;
let v1778 = v1777 * v1764;
*v237 = v1778;
let v1784 = *v261;
let v1785 = v1784 * v1764;
*v261 = v1785;
let v1791 = *v285;
let v1792 = v1791 * v1764;
*v285 = v1792;
let v1798 = *v309;
let v1799 = v1798 * v1764;
*v309 = v1799;
let v1805 = *v333;
let v1806 = v1805 * v1764;
*v333 = v1806;
let v1812 = *v357;
let v1813 = v1812 * v1764;
*v357 = v1813;
let v1819 = *v381;
let v1820 = v1819 * v1764;
*v381 = v1820;
let v1823 = v1693 + v217;
let v1827 = &(*v4535)[v1823];
let v1828 = *v1827;
let v1834 = *v219;
let v1835 = v1834 * v1828;
*v219 = v1835;
let v1841 = *v243;
let v1842 = v1841 * v1828;
*v243 = v1842;
let v1848 = *v267;
let v1849 = v1848 * v1828;
*v267 = v1849;
let v1855 = *v291;
let v1856 = v1855 * v1828;
*v291 = v1856;
let v1862 = *v315;
let v1863 = v1862 * v1828;
*v315 = v1863;
let v1869 = *v339;
let v1870 = v1869 * v1828;
*v339 = v1870;
let v1876 = *v363;
let v1877 = v1876 * v1828;
*v363 = v1877;
let v1883 = *v387;
let v1884 = v1883 * v1828;
*v387 = v1884;
let v1887 = v1693 + v223;
let v1891 = &(*v4535)[v1887];
let v1892 = *v1891;
let v1898 = *v225;
let v1899 = v1898 * v1892;
*v225 = v1899;
let v1905 = *v249;
let v1906 = v1905 * v1892;
*v249 = v1906;
let v1912 = *v273;
let v1913 = v1912 * v1892;
*v273 = v1913;
let v1919 = *v297;
let v1920 = v1919 * v1892;
*v297 = v1920;
let v1926 = *v321;
let v1927 = v1926 * v1892;
*v321 = v1927;
let v1933 = *v345;
let v1934 = v1933 * v1892;
*v345 = v1934;
let v1940 = *v369;
let v1941 = v1940 * v1892;
*v369 = v1941;
let v1947 = *v393;
let v1948 = v1947 * v1892;
*v393 = v1948;
let v1950 = v54 * v349;
for(var v1974: u32 = v3; v1974 < v37; v1974 += v63) {
var<function> v4568_store: array<f32, 4>= array<f32, 4>();
let v4568 = &v4568_store;
let v1983 = v512 * v349;
let v1984 = v1983 + v1974;
let v1987 = v1950 + v1984;
let v1988 = &(*v4534)[v1987];
let v1989 = *v1988;
let v1994 = &(*v4568)[v3];
*v1994 = v1989;
let v1998 = v773 * v349;
let v1999 = v1998 + v1974;
let v2002 = v1950 + v1999;
let v2003 = &(*v4534)[v2002];
let v2004 = *v2003;
let v2009 = &(*v4568)[v63];
*v2009 = v2004;
let v2013 = v791 * v349;
let v2014 = v2013 + v1974;
let v2017 = v1950 + v2014;
let v2018 = &(*v4534)[v2017];
let v2019 = *v2018;
let v2024 = &(*v4568)[v217];
*v2024 = v2019;
let v2028 = v809 * v349;
let v2029 = v2028 + v1974;
let v2032 = v1950 + v2029;
let v2033 = &(*v4534)[v2032];
let v2034 = *v2033;
let v2039 = &(*v4568)[v223];
*v2039 = v2034;
let v2043 = v1974 * v497;
let v2044 = v2043 + v518;
let v2048 = &(*v4532)[v2044];
let v2049 = *v2048;
let v2055 = *v1994;
let v2062 = *v207;
let v4959 = fma(v2055, v2049, v2062);
*v207 = v4959;
let v2069 = *v2009;
let v2076 = *v213;
let v4960 = fma(v2069, v2049, v2076);
*v213 = v4960;
let v2083 = *v2024;
let v2090 = *v219;
let v4961 = fma(v2083, v2049, v2090);
*v219 = v4961;
let v2097 = *v2039;
let v2104 = *v225;
let v4962 = fma(v2097, v2049, v2104);
*v225 = v4962;
let v2107 = v518 + v253;
let v2110 = v2043 + v2107;
let v2114 = &(*v4532)[v2110];
let v2115 = *v2114;
let v2121 = *v1994;
let v2128 = *v231;
let v4963 = fma(v2121, v2115, v2128);
*v231 = v4963;
let v2135 = *v2009;
let v2142 = *v237;
let v4964 = fma(v2135, v2115, v2142);
*v237 = v4964;
let v2149 = *v2024;
let v2156 = *v243;
let v4965 = fma(v2149, v2115, v2156);
*v243 = v4965;
let v2163 = *v2039;
let v2170 = *v249;
let v4966 = fma(v2163, v2115, v2170);
*v249 = v4966;
let v2173 = v518 + v37;
let v2176 = v2043 + v2173;
let v2180 = &(*v4532)[v2176];
let v2181 = *v2180;
let v2187 = *v1994;
let v2194 = *v255;
let v4967 = fma(v2187, v2181, v2194);
*v255 = v4967;
let v2201 = *v2009;
let v2208 = *v261;
let v4968 = fma(v2201, v2181, v2208);
*v261 = v4968;
let v2215 = *v2024;
let v2222 = *v267;
let v4969 = fma(v2215, v2181, v2222);
*v267 = v4969;
let v2229 = *v2039;
let v2236 = *v273;
let v4970 = fma(v2229, v2181, v2236);
*v273 = v4970;
let v2239 = v518 + v349;
let v2242 = v2043 + v2239;
let v2246 = &(*v4532)[v2242];
let v2247 = *v2246;
let v2253 = *v1994;
let v2260 = *v279;
let v4971 = fma(v2253, v2247, v2260);
*v279 = v4971;
let v2267 = *v2009;
let v2274 = *v285;
let v4972 = fma(v2267, v2247, v2274);
*v285 = v4972;
let v2281 = *v2024;
let v2288 = *v291;
let v4973 = fma(v2281, v2247, v2288);
*v291 = v4973;
let v2295 = *v2039;
let v2302 = *v297;
let v4974 = fma(v2295, v2247, v2302);
*v297 = v4974;
let v2305 = v518 + v41;
let v2308 = v2043 + v2305;
let v2312 = &(*v4532)[v2308];
let v2313 = *v2312;
let v2319 = *v1994;
let v2326 = *v303;
let v4975 = fma(v2319, v2313, v2326);
*v303 = v4975;
let v2333 = *v2009;
let v2340 = *v309;
let v4976 = fma(v2333, v2313, v2340);
*v309 = v4976;
let v2347 = *v2024;
let v2354 = *v315;
let v4977 = fma(v2347, v2313, v2354);
*v315 = v4977;
let v2361 = *v2039;
let v2368 = *v321;
let v4978 = fma(v2361, v2313, v2368);
*v321 = v4978;
let v2370 = u32(40);
let v2371 = v518 + v2370;
let v2374 = v2043 + v2371;
let v2378 = &(*v4532)[v2374];
let v2379 = *v2378;
let v2385 = *v1994;
let v2392 = *v327;
let v4979 = fma(v2385, v2379, v2392);
*v327 = v4979;
let v2399 = *v2009;
let v2406 = *v333;
let v4980 = fma(v2399, v2379, v2406);
*v333 = v4980;
let v2413 = *v2024;
let v2420 = *v339;
let v4981 = fma(v2413, v2379, v2420);
*v339 = v4981;
let v2427 = *v2039;
let v2434 = *v345;
let v4982 = fma(v2427, v2379, v2434);
*v345 = v4982;
let v2436 = u32(48);
let v2437 = v518 + v2436;
let v2440 = v2043 + v2437;
let v2444 = &(*v4532)[v2440];
let v2445 = *v2444;
let v2451 = *v1994;
let v2458 = *v351;
let v4983 = fma(v2451, v2445, v2458);
*v351 = v4983;
let v2465 = *v2009;
let v2472 = *v357;
let v4984 = fma(v2465, v2445, v2472);
*v357 = v4984;
let v2479 = *v2024;
let v2486 = *v363;
let v4985 = fma(v2479, v2445, v2486);
*v363 = v4985;
let v2493 = *v2039;
let v2500 = *v369;
let v4986 = fma(v2493, v2445, v2500);
*v369 = v4986;
let v2502 = u32(56);
let v2503 = v518 + v2502;
let v2506 = v2043 + v2503;
let v2510 = &(*v4532)[v2506];
let v2511 = *v2510;
let v2517 = *v1994;
let v2524 = *v375;
let v4987 = fma(v2517, v2511, v2524);
*v375 = v4987;
let v2531 = *v2009;
let v2538 = *v381;
let v4988 = fma(v2531, v2511, v2538);
*v381 = v4988;
let v2545 = *v2024;
let v2552 = *v387;
let v4989 = fma(v2545, v2511, v2552);
*v387 = v4989;
let v2559 = *v2039;
let v2566 = *v393;
let v4990 = fma(v2559, v2511, v2566);
*v393 = v4990;

}

}
let v2573 = &(*v4536)[v50];
let v2574 = *v4547;
*v2573 = v2574;
workgroupBarrier();
let v2580 = v52 * v41;
let v2586 = v58 + v37;
let v2588 = v2586 % v41;
let v2589 = v2580 + v2588;
let v2593 = &(*v4536)[v2589];
let v2594 = *v2593;
workgroupBarrier();
let v2595 = *v4547;
let v2596 = v2595 + v2594;
*v4547 = v2596;
workgroupBarrier();
let v2598 = v161 == v3;
if v2598 {
let v2600 = *v4547;
let v2601 = v154 / v2600;
let v2605 = &(*v4535)[v61];
*v2605 = v2601;
if v83 {
let v2608 = log(v2600);
let v2609 = *v4546;
let v2610 = v2609 + v2608;
let v2612 = v62 * v229;
let v2613 = v2612 + v48;
let v2617 = &(*v4991)[v2613];
*v2617 = v2610;

}

}
let v2618 = v46 + v54;
let v2637 = v2618 + v60;
workgroupBarrier();
let v2639 = v54 * v325;
let v2645 = v58 / v253;
let v2647 = v2645 * v229;
let v2653 = v58 % v253;
let v2659 = *v207;
let v2663 = v2647 * v325;
let v2664 = v2639 + v2663;
let v2665 = v2664 + v2653;
let v2671 = &(*v4533)[v2665];
*v2671 = v2659;
let v2677 = *v213;
let v2679 = v2647 + v63;
let v2681 = v2679 * v325;
let v2682 = v2639 + v2681;
let v2683 = v2682 + v2653;
let v2689 = &(*v4533)[v2683];
*v2689 = v2677;
let v2695 = *v219;
let v2697 = v2647 + v217;
let v2699 = v2697 * v325;
let v2700 = v2639 + v2699;
let v2701 = v2700 + v2653;
let v2707 = &(*v4533)[v2701];
*v2707 = v2695;
let v2713 = *v225;
let v2715 = v2647 + v223;
let v2717 = v2715 * v325;
let v2718 = v2639 + v2717;
let v2719 = v2718 + v2653;
let v2725 = &(*v4533)[v2719];
*v2725 = v2713;
let v2731 = *v231;
let v2739 = v2665 + v253;
let v2743 = &(*v4533)[v2739];
*v2743 = v2731;
let v2749 = *v237;
let v2757 = v2683 + v253;
let v2761 = &(*v4533)[v2757];
*v2761 = v2749;
let v2767 = *v243;
let v2775 = v2701 + v253;
let v2779 = &(*v4533)[v2775];
*v2779 = v2767;
let v2785 = *v249;
let v2793 = v2719 + v253;
let v2797 = &(*v4533)[v2793];
*v2797 = v2785;
workgroupBarrier();
var<function> v4569_store: array<f32, 8>= array<f32, 8>();
let v4569 = &v4569_store;
let v2804 = v61 * v325;
let v2806 = v161 * v253;
let v2807 = v2804 + v2806;
let v2815 = &(*v4533)[v2807];
let v2816 = *v2815;
let v2821 = &(*v4569)[v3];
*v2821 = v2816;
let v2825 = v2807 + v63;
let v2829 = &(*v4533)[v2825];
let v2830 = *v2829;
let v2835 = &(*v4569)[v63];
*v2835 = v2830;
let v2839 = v2807 + v217;
let v2843 = &(*v4533)[v2839];
let v2844 = *v2843;
let v2849 = &(*v4569)[v217];
*v2849 = v2844;
let v2853 = v2807 + v223;
let v2857 = &(*v4533)[v2853];
let v2858 = *v2857;
let v2863 = &(*v4569)[v223];
*v2863 = v2858;
let v2867 = v2807 + v229;
let v2871 = &(*v4533)[v2867];
let v2872 = *v2871;
let v2877 = &(*v4569)[v229];
*v2877 = v2872;
let v2881 = v2807 + v235;
let v2885 = &(*v4533)[v2881];
let v2886 = *v2885;
let v2891 = &(*v4569)[v235];
*v2891 = v2886;
let v2895 = v2807 + v241;
let v2899 = &(*v4533)[v2895];
let v2900 = *v2899;
let v2905 = &(*v4569)[v241];
*v2905 = v2900;
let v2909 = v2807 + v247;
let v2913 = &(*v4533)[v2909];
let v2914 = *v2913;
let v2919 = &(*v4569)[v247];
*v2919 = v2914;
let v2924 = &(*v4535)[v61];
let v2925 = *v2924;
let v2930 = v2637 < v17;
let v2932 = v2806 < v149;
let v2933 = v2930 && v2932;
if v2933 {
let v2939 = *v2821;
let v2940 = v2939 * v2925;
let v2941 = u32(256);
let v2942 = v2637 * v2941;
let v2943 = v2942 + v150;
let v2944 = v2943 + v2806;
let v2948 = &(*v4992)[v2944];
*v2948 = v2940;

}
let v2952 = v2806 + v63;
let v2955 = v2952 < v149;
let v2956 = v2930 && v2955;
if v2956 {
let v2962 = *v2835;
let v2963 = v2962 * v2925;
let v2964 = u32(256);
let v2965 = v2637 * v2964;
let v2966 = v2965 + v150;
let v2967 = v2966 + v2952;
let v2971 = &(*v4992)[v2967];
*v2971 = v2963;

}
let v2975 = v2806 + v217;
let v2978 = v2975 < v149;
let v2979 = v2930 && v2978;
if v2979 {
let v2985 = *v2849;
let v2986 = v2985 * v2925;
let v2987 = u32(256);
let v2988 = v2637 * v2987;
let v2989 = v2988 + v150;
let v2990 = v2989 + v2975;
let v2994 = &(*v4992)[v2990];
*v2994 = v2986;

}
let v2998 = v2806 + v223;
let v3001 = v2998 < v149;
let v3002 = v2930 && v3001;
if v3002 {
let v3008 = *v2863;
let v3009 = v3008 * v2925;
let v3010 = u32(256);
let v3011 = v2637 * v3010;
let v3012 = v3011 + v150;
let v3013 = v3012 + v2998;
let v3017 = &(*v4992)[v3013];
*v3017 = v3009;

}
let v3021 = v2806 + v229;
let v3024 = v3021 < v149;
let v3025 = v2930 && v3024;
if v3025 {
let v3031 = *v2877;
let v3032 = v3031 * v2925;
let v3033 = u32(256);
let v3034 = v2637 * v3033;
let v3035 = v3034 + v150;
let v3036 = v3035 + v3021;
let v3040 = &(*v4992)[v3036];
*v3040 = v3032;

}
let v3044 = v2806 + v235;
let v3047 = v3044 < v149;
let v3048 = v2930 && v3047;
if v3048 {
let v3054 = *v2891;
let v3055 = v3054 * v2925;
let v3056 = u32(256);
let v3057 = v2637 * v3056;
let v3058 = v3057 + v150;
let v3059 = v3058 + v3044;
let v3063 = &(*v4992)[v3059];
*v3063 = v3055;

}
let v3067 = v2806 + v241;
let v3070 = v3067 < v149;
let v3071 = v2930 && v3070;
if v3071 {
let v3077 = *v2905;
let v3078 = v3077 * v2925;
let v3079 = u32(256);
let v3080 = v2637 * v3079;
let v3081 = v3080 + v150;
let v3082 = v3081 + v3067;
let v3086 = &(*v4992)[v3082];
*v3086 = v3078;

}
let v3090 = v2806 + v247;
let v3093 = v3090 < v149;
let v3094 = v2930 && v3093;
if v3094 {
let v3100 = *v2919;
let v3101 = v3100 * v2925;
let v3102 = u32(256);
let v3103 = v2637 * v3102;
let v3104 = v3103 + v150;
let v3105 = v3104 + v3090;
let v3109 = &(*v4992)[v3105];
*v3109 = v3101;

}
workgroupBarrier();
let v3131 = *v255;
*v2671 = v3131;
let v3149 = *v261;
*v2689 = v3149;
let v3167 = *v267;
*v2707 = v3167;
let v3185 = *v273;
*v2725 = v3185;
let v3203 = *v279;
*v2743 = v3203;
let v3221 = *v285;
*v2761 = v3221;
let v3239 = *v291;
*v2779 = v3239;
let v3257 = *v297;
*v2797 = v3257;
workgroupBarrier();
var<function> v4570_store: array<f32, 8>= array<f32, 8>();
let v4570 = &v4570_store;
let v3288 = *v2815;
let v3293 = &(*v4570)[v3];
*v3293 = v3288;
let v3302 = *v2829;
let v3307 = &(*v4570)[v63];
*v3307 = v3302;
let v3316 = *v2843;
let v3321 = &(*v4570)[v217];
*v3321 = v3316;
let v3330 = *v2857;
let v3335 = &(*v4570)[v223];
*v3335 = v3330;
let v3344 = *v2871;
let v3349 = &(*v4570)[v229];
*v3349 = v3344;
let v3358 = *v2885;
let v3363 = &(*v4570)[v235];
*v3363 = v3358;
let v3372 = *v2899;
let v3377 = &(*v4570)[v241];
*v3377 = v3372;
let v3386 = *v2913;
let v3391 = &(*v4570)[v247];
*v3391 = v3386;
let v3397 = *v2924;
let v3401 = v2806 + v37;
let v3404 = v3401 < v149;
let v3405 = v2930 && v3404;
if v3405 {
let v3411 = *v3293;
let v3412 = v3411 * v3397;
let v3413 = u32(256);
let v3414 = v2637 * v3413;
let v3415 = v3414 + v150;
let v3416 = v3415 + v3401;
let v3420 = &(*v4992)[v3416];
*v3420 = v3412;

}
let v3424 = v2806 + v307;
let v3427 = v3424 < v149;
let v3428 = v2930 && v3427;
if v3428 {
let v3434 = *v3307;
let v3435 = v3434 * v3397;
let v3436 = u32(256);
let v3437 = v2637 * v3436;
let v3438 = v3437 + v150;
let v3439 = v3438 + v3424;
let v3443 = &(*v4992)[v3439];
*v3443 = v3435;

}
let v3447 = v2806 + v313;
let v3450 = v3447 < v149;
let v3451 = v2930 && v3450;
if v3451 {
let v3457 = *v3321;
let v3458 = v3457 * v3397;
let v3459 = u32(256);
let v3460 = v2637 * v3459;
let v3461 = v3460 + v150;
let v3462 = v3461 + v3447;
let v3466 = &(*v4992)[v3462];
*v3466 = v3458;

}
let v3470 = v2806 + v319;
let v3473 = v3470 < v149;
let v3474 = v2930 && v3473;
if v3474 {
let v3480 = *v3335;
let v3481 = v3480 * v3397;
let v3482 = u32(256);
let v3483 = v2637 * v3482;
let v3484 = v3483 + v150;
let v3485 = v3484 + v3470;
let v3489 = &(*v4992)[v3485];
*v3489 = v3481;

}
let v3493 = v2806 + v325;
let v3496 = v3493 < v149;
let v3497 = v2930 && v3496;
if v3497 {
let v3503 = *v3349;
let v3504 = v3503 * v3397;
let v3505 = u32(256);
let v3506 = v2637 * v3505;
let v3507 = v3506 + v150;
let v3508 = v3507 + v3493;
let v3512 = &(*v4992)[v3508];
*v3512 = v3504;

}
let v3516 = v2806 + v331;
let v3519 = v3516 < v149;
let v3520 = v2930 && v3519;
if v3520 {
let v3526 = *v3363;
let v3527 = v3526 * v3397;
let v3528 = u32(256);
let v3529 = v2637 * v3528;
let v3530 = v3529 + v150;
let v3531 = v3530 + v3516;
let v3535 = &(*v4992)[v3531];
*v3535 = v3527;

}
let v3539 = v2806 + v337;
let v3542 = v3539 < v149;
let v3543 = v2930 && v3542;
if v3543 {
let v3549 = *v3377;
let v3550 = v3549 * v3397;
let v3551 = u32(256);
let v3552 = v2637 * v3551;
let v3553 = v3552 + v150;
let v3554 = v3553 + v3539;
let v3558 = &(*v4992)[v3554];
*v3558 = v3550;

}
let v3562 = v2806 + v343;
let v3565 = v3562 < v149;
let v3566 = v2930 && v3565;
if v3566 {
let v3572 = *v3391;
let v3573 = v3572 * v3397;
let v3574 = u32(256);
let v3575 = v2637 * v3574;
let v3576 = v3575 + v150;
let v3577 = v3576 + v3562;
let v3581 = &(*v4992)[v3577];
*v3581 = v3573;

}
workgroupBarrier();
let v3603 = *v303;
*v2671 = v3603;
let v3621 = *v309;
*v2689 = v3621;
let v3639 = *v315;
*v2707 = v3639;
let v3657 = *v321;
*v2725 = v3657;
let v3675 = *v327;
*v2743 = v3675;
let v3693 = *v333;
*v2761 = v3693;
let v3711 = *v339;
*v2779 = v3711;
let v3729 = *v345;
*v2797 = v3729;
workgroupBarrier();
var<function> v4571_store: array<f32, 8>= array<f32, 8>();
let v4571 = &v4571_store;
let v3760 = *v2815;
let v3765 = &(*v4571)[v3];
*v3765 = v3760;
let v3774 = *v2829;
let v3779 = &(*v4571)[v63];
*v3779 = v3774;
let v3788 = *v2843;
let v3793 = &(*v4571)[v217];
*v3793 = v3788;
let v3802 = *v2857;
let v3807 = &(*v4571)[v223];
*v3807 = v3802;
let v3816 = *v2871;
let v3821 = &(*v4571)[v229];
*v3821 = v3816;
let v3830 = *v2885;
let v3835 = &(*v4571)[v235];
*v3835 = v3830;
let v3844 = *v2899;
let v3849 = &(*v4571)[v241];
*v3849 = v3844;
let v3858 = *v2913;
let v3863 = &(*v4571)[v247];
*v3863 = v3858;
let v3869 = *v2924;
let v3873 = v2806 + v41;
let v3876 = v3873 < v149;
let v3877 = v2930 && v3876;
if v3877 {
let v3883 = *v3765;
let v3884 = v3883 * v3869;
let v3885 = u32(256);
let v3886 = v2637 * v3885;
let v3887 = v3886 + v150;
let v3888 = v3887 + v3873;
let v3892 = &(*v4992)[v3888];
*v3892 = v3884;

}
let v3895 = u32(33);
let v3896 = v2806 + v3895;
let v3899 = v3896 < v149;
let v3900 = v2930 && v3899;
if v3900 {
let v3906 = *v3779;
let v3907 = v3906 * v3869;
let v3908 = u32(256);
let v3909 = v2637 * v3908;
let v3910 = v3909 + v150;
let v3911 = v3910 + v3896;
let v3915 = &(*v4992)[v3911];
*v3915 = v3907;

}
let v3918 = u32(34);
let v3919 = v2806 + v3918;
let v3922 = v3919 < v149;
let v3923 = v2930 && v3922;
if v3923 {
let v3929 = *v3793;
let v3930 = v3929 * v3869;
let v3931 = u32(256);
let v3932 = v2637 * v3931;
let v3933 = v3932 + v150;
let v3934 = v3933 + v3919;
let v3938 = &(*v4992)[v3934];
*v3938 = v3930;

}
let v3941 = u32(35);
let v3942 = v2806 + v3941;
let v3945 = v3942 < v149;
let v3946 = v2930 && v3945;
if v3946 {
let v3952 = *v3807;
let v3953 = v3952 * v3869;
let v3954 = u32(256);
let v3955 = v2637 * v3954;
let v3956 = v3955 + v150;
let v3957 = v3956 + v3942;
let v3961 = &(*v4992)[v3957];
*v3961 = v3953;

}
let v3964 = u32(36);
let v3965 = v2806 + v3964;
let v3968 = v3965 < v149;
let v3969 = v2930 && v3968;
if v3969 {
let v3975 = *v3821;
let v3976 = v3975 * v3869;
let v3977 = u32(256);
let v3978 = v2637 * v3977;
let v3979 = v3978 + v150;
let v3980 = v3979 + v3965;
let v3984 = &(*v4992)[v3980];
*v3984 = v3976;

}
let v3987 = u32(37);
let v3988 = v2806 + v3987;
let v3991 = v3988 < v149;
let v3992 = v2930 && v3991;
if v3992 {
let v3998 = *v3835;
let v3999 = v3998 * v3869;
let v4000 = u32(256);
let v4001 = v2637 * v4000;
let v4002 = v4001 + v150;
let v4003 = v4002 + v3988;
let v4007 = &(*v4992)[v4003];
*v4007 = v3999;

}
let v4010 = u32(38);
let v4011 = v2806 + v4010;
let v4014 = v4011 < v149;
let v4015 = v2930 && v4014;
if v4015 {
let v4021 = *v3849;
let v4022 = v4021 * v3869;
let v4023 = u32(256);
let v4024 = v2637 * v4023;
let v4025 = v4024 + v150;
let v4026 = v4025 + v4011;
let v4030 = &(*v4992)[v4026];
*v4030 = v4022;

}
let v4033 = u32(39);
let v4034 = v2806 + v4033;
let v4037 = v4034 < v149;
let v4038 = v2930 && v4037;
if v4038 {
let v4044 = *v3863;
let v4045 = v4044 * v3869;
let v4046 = u32(256);
let v4047 = v2637 * v4046;
let v4048 = v4047 + v150;
let v4049 = v4048 + v4034;
let v4053 = &(*v4992)[v4049];
*v4053 = v4045;

}
workgroupBarrier();
let v4075 = *v351;
*v2671 = v4075;
let v4093 = *v357;
*v2689 = v4093;
let v4111 = *v363;
*v2707 = v4111;
let v4129 = *v369;
*v2725 = v4129;
let v4147 = *v375;
*v2743 = v4147;
let v4165 = *v381;
*v2761 = v4165;
let v4183 = *v387;
*v2779 = v4183;
let v4201 = *v393;
*v2797 = v4201;
workgroupBarrier();
var<function> v4572_store: array<f32, 8>= array<f32, 8>();
let v4572 = &v4572_store;
let v4232 = *v2815;
let v4237 = &(*v4572)[v3];
*v4237 = v4232;
let v4246 = *v2829;
let v4251 = &(*v4572)[v63];
*v4251 = v4246;
let v4260 = *v2843;
let v4265 = &(*v4572)[v217];
*v4265 = v4260;
let v4274 = *v2857;
let v4279 = &(*v4572)[v223];
*v4279 = v4274;
let v4288 = *v2871;
let v4293 = &(*v4572)[v229];
*v4293 = v4288;
let v4302 = *v2885;
let v4307 = &(*v4572)[v235];
*v4307 = v4302;
let v4316 = *v2899;
let v4321 = &(*v4572)[v241];
*v4321 = v4316;
let v4330 = *v2913;
let v4335 = &(*v4572)[v247];
*v4335 = v4330;
let v4341 = *v2924;
let v4344 = u32(48);
let v4345 = v2806 + v4344;
let v4348 = v4345 < v149;
let v4349 = v2930 && v4348;
if v4349 {
let v4355 = *v4237;
let v4356 = v4355 * v4341;
let v4357 = u32(256);
let v4358 = v2637 * v4357;
let v4359 = v4358 + v150;
let v4360 = v4359 + v4345;
let v4364 = &(*v4992)[v4360];
*v4364 = v4356;

}
let v4367 = u32(49);
let v4368 = v2806 + v4367;
let v4371 = v4368 < v149;
let v4372 = v2930 && v4371;
if v4372 {
let v4378 = *v4251;
let v4379 = v4378 * v4341;
let v4380 = u32(256);
let v4381 = v2637 * v4380;
let v4382 = v4381 + v150;
let v4383 = v4382 + v4368;
let v4387 = &(*v4992)[v4383];
*v4387 = v4379;

}
let v4390 = u32(50);
let v4391 = v2806 + v4390;
let v4394 = v4391 < v149;
let v4395 = v2930 && v4394;
if v4395 {
let v4401 = *v4265;
let v4402 = v4401 * v4341;
let v4403 = u32(256);
let v4404 = v2637 * v4403;
let v4405 = v4404 + v150;
let v4406 = v4405 + v4391;
let v4410 = &(*v4992)[v4406];
*v4410 = v4402;

}
let v4413 = u32(51);
let v4414 = v2806 + v4413;
let v4417 = v4414 < v149;
let v4418 = v2930 && v4417;
if v4418 {
let v4424 = *v4279;
let v4425 = v4424 * v4341;
let v4426 = u32(256);
let v4427 = v2637 * v4426;
let v4428 = v4427 + v150;
let v4429 = v4428 + v4414;
let v4433 = &(*v4992)[v4429];
*v4433 = v4425;

}
let v4436 = u32(52);
let v4437 = v2806 + v4436;
let v4440 = v4437 < v149;
let v4441 = v2930 && v4440;
if v4441 {
let v4447 = *v4293;
let v4448 = v4447 * v4341;
let v4449 = u32(256);
let v4450 = v2637 * v4449;
let v4451 = v4450 + v150;
let v4452 = v4451 + v4437;
let v4456 = &(*v4992)[v4452];
*v4456 = v4448;

}
let v4459 = u32(53);
let v4460 = v2806 + v4459;
let v4463 = v4460 < v149;
let v4464 = v2930 && v4463;
if v4464 {
let v4470 = *v4307;
let v4471 = v4470 * v4341;
let v4472 = u32(256);
let v4473 = v2637 * v4472;
let v4474 = v4473 + v150;
let v4475 = v4474 + v4460;
let v4479 = &(*v4992)[v4475];
*v4479 = v4471;

}
let v4482 = u32(54);
let v4483 = v2806 + v4482;
let v4486 = v4483 < v149;
let v4487 = v2930 && v4486;
if v4487 {
let v4493 = *v4321;
let v4494 = v4493 * v4341;
let v4495 = u32(256);
let v4496 = v2637 * v4495;
let v4497 = v4496 + v150;
let v4498 = v4497 + v4483;
let v4502 = &(*v4992)[v4498];
*v4502 = v4494;

}
let v4505 = u32(55);
let v4506 = v2806 + v4505;
let v4509 = v4506 < v149;
let v4510 = v2930 && v4509;
if v4510 {
let v4516 = *v4335;
let v4517 = v4516 * v4341;
let v4518 = u32(256);
let v4519 = v2637 * v4518;
let v4520 = v4519 + v150;
let v4521 = v4520 + v4506;
let v4525 = &(*v4992)[v4521];
*v4525 = v4517;

}
return;

}
