#!/usr/bin/env python3
"""Golden token ids of varied lines, from the libraries that everybody else uses.

    anaume tokenizer train tests/golden/tokenizer/small.txt --vocab-size 700 --out tests/golden/tokenizer/small
    anaume tokenizer prepare $ANAUME_DATA/tokenizer/llm-jp-tokenizer-100k.ver3.0b1.model --out PREPARED
    python generate.py --sentencepiece $ANAUME_DATA/tokenizer/llm-jp-tokenizer-100k.ver3.0b1.model --llm-jp PREPARED

writes, beside this file:
- lines.json: the texts; an object {"repeat": s, "times": n} stands for a long line;
- llm_jp.json: per text the ids of sentencepiece, and of tokenizers the ids and the offsets (code points);
- small.json: the same of tokenizers for the folder small/;
with the versions of the libraries and the SHA-256 of what they read. Long results are kept as counts and FNV-1a hashes.
Before writing, transformers' AutoTokenizer must load both folders and give the same ids.
"""
import argparse
import hashlib
import itertools
import json
import pathlib

import sentencepiece
import tokenizers
import transformers

HERE = pathlib.Path(__file__).parent
LONGEST_KEPT = 2000

KANA = [
    "こんにちは", "おはようございます", "ありがとうございました。", "カレーライス", "コーヒーを一杯ください。", "ひらがなとカタカナ",
    "ゔぁいおりん", "ヴァイオリン", "ゐゑヰヱ", "ぁぃぅぇぉっゃゅょゎ", "ァィゥェォッャュョヮヵヶ", "いろはにほへと ちりぬるを",
    "ーーー", "あーーーっ！", "ヷヸヹヺ", "ゝゞヽヾ", "ゟヿ", "すもももももももものうち", "にわにはにわにわとりがいる", "きゃりーぱみゅぱみゅ",
    "ﾊﾝｶｸｶﾅ", "ｶﾞｷﾞｸﾞｹﾞｺﾞ", "ﾊﾟﾋﾟﾌﾟﾍﾟﾎﾟ", "｢ﾊﾟﾝ｣､ｺｰﾋｰ｡", "ﾃｽﾄ123", "ｱｲｳｴｵABC", "全角ＡＢＣ１２３", "ｈａｌｆ　ｗｉｄｔｈ", "㌔㌢㍉㍍", "㍻㍼㍽㍾",
]
KANJI = [
    "今日のご飯は納豆である。", "吾輩は猫である。", "日本の首都は東京です。", "国立国会図書館", "東京特許許可局長", "鬱蒼とした森", "躊躇逡巡",
    "齟齬", "髙橋さんと渡邊さん", "𠮷野家で𩸽を食べる", "𠀋𡈽𠂉", "葛󠄀城市と辻󠄀さん", "々〆〇〻", "一二三四五六七八九十百千万億兆",
    "壱弐参", "令和七年十一月二十三日", "第二十三条第一項第四号", "株式会社（かぶしきがいしゃ）", "㈱㈲№℡", "明治四十五年", "龜龍齋", "曖昧模糊",
    "彼は「明日行く」と言った。", "『源氏物語』を読む", "昨日、友達と映画を見に行きました。", "山の天気は変わりやすい。", "時計は休まずに動いている。",
]
MIXED = [
    "AIとML", "iPhone15を買った", "PythonでHello, world!", "JR東日本のSuicaは便利だ", "GPU8枚で24時間", "第1回Kaggle大会", "A社とB社のM&A",
    "3.14は円周率", "10,000円", "¥1,980（税込）", "50%オフ", "2025年4月22日 12:34:56", "03-1234-5678", "〒100-0001", "−5℃から+30℃", "1/2＋1/3＝5/6",
    "x²+y²=z²", "CO₂とH₂O", "E=mc²", "100km/h", "3LDK・駅徒歩5分", "U.S.A.とU.K.", "URLはhttps://example.com/日本語?q=テスト&n=1#上", "mail@example.co.jp",
    "#ハッシュタグ @メンション", "Ｔｅｓｔ　テスト　試験", "第Ⅲ章 ⅳ節", "①②③", "●○◎◇◆□■△▲▽▼※〒→←↑↓", "♪♫♬", "（笑）ｗｗｗ", "(^_^)/~", "orz", "キタ━━━(゜∀゜)━━━!!",
]
ASCII = [
    "Hello, world!", "The quick brown fox jumps over the lazy dog.", "it's a dog's life", "don't", "UPPER lower MiXeD", "aaaaaaaaaaaaaaaaaaaaaaaa",
    "1234567890", "0.1+0.2!=0.3", "~!@#$%^&*()_+`-={}|[]\\:\";'<>?,./", "a", "A", "0", ".", "...", "......", "--", "----", "====", "____", "####", "****", "<br>", "<div class=\"a\">",
    "</p>", "&amp;&lt;", "\\n\\t", "C:\\Users\\name", "/usr/local/bin", "foo_bar_baz", "fooBarBaz", "foo-bar", "foo.bar()", "$HOME", "${x}", "{{x}}", "%s %d", "0xDEADBEEF", "1e-10", "v1.2.3-rc.1",
]
CODE = [
    "def f(x):\n    return x + 1\n", "for (int i = 0; i < n; i++) {\n\tsum += a[i];\n}", "fn main() {\n    println!(\"{}\", 1);\n}", "SELECT * FROM t WHERE a = 'b';",
    "if __name__ == \"__main__\":", "let x: Vec<u32> = vec![1, 2, 3];", "# コメント\nprint(\"日本語\")", "{\"a\": [1, 2, {\"b\": null}]}", "<html><body>こんにちは</body></html>",
    "\\begin{equation}\\alpha\\end{equation}", "git commit -m \"修正\"", "int main(void)\r\n{\r\n\treturn 0;\r\n}\r\n", "a=1;b=2;c=a+b", "        return None", "\t\tindented", "x  =  1", "//コメント", "/* 複数行\n * コメント\n */",
]
SPACES = [
    "", " ", "  ", "   ", " " * 15, " " * 16, " " * 17, " " * 33, "　", "　　", " 　 ", "\t", "\t\t", "\n", "\n\n", "\n\n\n", "\r\n", "\r", "\r\r", "\v\f", "\u00a0", "\u200b", "\u200bあ", "\u2003", "\u2028", "\u3000全角字下げ",
    " 前に空白", "後に空白 ", "  二つ", "間に 空白", "間に  二つ", "間に   三つ", "a b", "a  b", "a   b", "a    b", "a\tb", "a\nb", "a\n\nb", "a\n b", "a \nb", "\na", "\n\na", "a\n", "a\n\n", "\n a", " \na", "\n　段落", "行1\n行2\n行3", "行1\r\n行2",
    "一行目。\n\n二行目。\n", "▁", "▁▁", "▁a", "a▁b", "a ▁ b", "空白▁空白", "end ", " a ", "  a  ", "日本 語", "日本　語",
]
UNICODE = [
    "😀", "😀😃😄", "👨‍👩‍👧‍👦", "👍🏽", "🇯🇵", "🏳️‍🌈", "1️⃣", "❤️", "☺", "☕でひと休み☕", "今日は🍣を食べた！", "🫠🫡", "𝒳𝓎𝓏", "ℵℶℷ", "∀x∃y(x≤y)", "∫₀^∞ e^{-x²}dx", "αβγδε", "ΑΒΓ", "Привет, мир", "Ελλάδα", "שלום", "مرحبا بالعالم", "नमस्ते", "สวัสดี",
    "한국어 문장입니다.", "안녕하세요", "가각간", "\u1112\u1161\u11ab", "你好，世界", "中华人民共和国", "台灣繁體中文", "简体与繁體", "café", "cafe\u0301", "naïve", "Ångström", "A\u030angstro\u0308m", "Zürich", "São Paulo", "Đà Nẵng", "Łódź", "İstanbul", "ß", "ﬁ", "œuvre",
    "か\u3099", "が", "は\u309a", "ぱ", "カ\u3099キ\u3099", "\u3099", "e\u0301\u0302\u0303", "a\u0300\u0301", "Z\u0351\u036ba\u0363l", "\ufeffBOM", "\u202eRTL", "\u0000", "a\u0000b", "\u0001\u0002", "\u001b[31mred\u001b[0m", "\u007f", "\ufffd", "\uffff", "\U0010ffff", "\ue000", "\u2028\u2029",
    "…‥", "——", "──", "〜～", "“quote”‘x’", "«»‹›", "・・・", "。。。", "、、、", "！？!?", "‼⁇⁈⁉",
]
SPECIAL = [
    "<s>", "</s>", "<unk>", "<MASK|LLM-jp>", "<PAD|LLM-jp>", "<CLS|LLM-jp>", "<SEP|LLM-jp>", "<EOD|LLM-jp>", "今日のご飯は<MASK|LLM-jp>である。", "<MASK|LLM-jp>は猫である。", "これは<MASK|LLM-jp>",
    "<MASK|LLM-jp><MASK|LLM-jp>", "a <MASK|LLM-jp> b", "a<MASK|LLM-jp> b", "a <MASK|LLM-jp>b", "一<MASK|LLM-jp>二<MASK|LLM-jp>三", "<CLS|LLM-jp>文<SEP|LLM-jp>", "<s>文</s>", "文</s>文", "<MASK>", "<PAD>", "[CLS]", "[SEP]", "[PAD]", "<mask>", "<0x41>", "<0xE3><0x81><0x82>", "a<0x0A>b",
    "<0xZZ>", "< s >", "<s", "s>", "<<s>>", "<MASK|LLM-jp", "MASK|LLM-jp>", "<MASK|LLM-jp>\n改行", "\n<MASK|LLM-jp>", "🍣<MASK|LLM-jp>🍣",
]
SENTENCES = [
    " ".join(words) + mark
    for words, mark in itertools.product(
        [["It", "rains", "in", "Kyoto"], ["two", " spaces", "here"], ["naïve", "café"]], [".", "?", " "]
    )
] + [
    subject + verb + end
    for subject, verb, end in itertools.product(
        ["川の向こうで", "去年の秋に", "コンピューターが"], ["鳥が鳴いた", "子どもたちは歌った"], ["。", "！\n", "、そして……"]
    )
]
LONG = [
    {"repeat": "隣の客はよく柿食う客だ、", "times": 2800},
    {"repeat": "あ", "times": 5000},
    {"repeat": "🍣", "times": 500},
    {"repeat": " ", "times": 1000},
    {"repeat": "no spaces here but latin ", "times": 400},
    {"repeat": "生麦生米生卵。\n", "times": 300},
]


def spell(line) -> str:
    return line if isinstance(line, str) else line["repeat"] * line["times"]


def digest(values) -> dict:
    fnv = 0xCBF29CE484222325
    for value in values:
        fnv = (fnv ^ value) * 0x100000001B3 % 2**64
    return {"count": len(values), "fnv1a": f"{fnv:016x}"}


def kept(values):
    return values if len(values) <= LONGEST_KEPT else digest(values)


def sha256(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def hugging_face(folder: pathlib.Path, lines: list) -> list:
    library = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    auto = transformers.AutoTokenizer.from_pretrained(folder)
    rows = []
    for line in lines:
        text = spell(line)
        encoding = library.encode(text)
        from_auto = auto(text, return_offsets_mapping=True)
        assert from_auto["input_ids"] == encoding.ids, text
        assert sorted(from_auto) == ["attention_mask", "input_ids", "offset_mapping"], sorted(from_auto)
        assert [tuple(pair) for pair in from_auto["offset_mapping"]] == encoding.offsets, text
        pair = auto(text, "二つ目")["input_ids"]
        assert pair == library.encode(text, "二つ目").ids == encoding.ids + library.encode("二つ目").ids[1:], text
        offsets = [place for pair in encoding.offsets for place in pair]
        rows.append({"input_ids": kept(encoding.ids), "offsets": kept(offsets)})
    return rows


def write(name: str, value: dict, rows: str) -> None:
    body = ",\n".join(json.dumps(row, separators=(",", ":")) for row in value.pop(rows))
    head = json.dumps(value, indent=1)[:-1].rstrip() + ("," if value else "")
    (HERE / name).write_text(f'{head}\n "{rows}": [\n{body}\n]}}\n')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentencepiece", type=pathlib.Path, required=True)
    parser.add_argument("--llm-jp", type=pathlib.Path, required=True)
    args = parser.parse_args()
    lines = KANA + KANJI + MIXED + ASCII + CODE + SPACES + UNICODE + SPECIAL + SENTENCES + LONG
    assert len(lines) >= 300, len(lines)
    versions = {module.__name__: module.__version__ for module in (sentencepiece, tokenizers, transformers)}
    processor = sentencepiece.SentencePieceProcessor(model_file=str(args.sentencepiece))
    llm_jp = hugging_face(args.llm_jp, lines)
    for row, line in zip(llm_jp, lines):
        row["sentencepiece"] = kept(processor.encode(spell(line)))
    write("lines.json", {"lines": lines}, "lines")
    model = {"model_sha256": sha256(args.sentencepiece), "tokenizer_sha256": sha256(args.llm_jp / "tokenizer.json")}
    write("llm_jp.json", {"versions": versions, **model, "rows": llm_jp}, "rows")
    small = {"tokenizer_sha256": sha256(HERE / "small" / "tokenizer.json")}
    write("small.json", {"versions": versions, **small, "rows": hugging_face(HERE / "small", lines)}, "rows")
    print(len(lines), "lines")


if __name__ == "__main__":
    main()
