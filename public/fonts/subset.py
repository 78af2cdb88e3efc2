"""Makes noto-sans-cjk-jp-subset.otf, the one font of figures: python subset.py [NotoSansCJK-Regular.ttc]

Needs fonttools (4.68.0 made the committed file). The same input and version give the same bytes.
"""

import hashlib
import pathlib
import sys

from fontTools import subset

SOURCE = "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc"
JAPANESE_FACE = 0  # the collection's first face is "Noto Sans CJK JP"
TARGET = pathlib.Path(__file__).with_name("noto-sans-cjk-jp-subset.otf")

# The kanji of the joyo list (2010) that JIS X 0208 level 1 lacks, and the printed forms of two of them.
JOYO_BEYOND_LEVEL_1 = "丼傲刹剝哺喩嗅嘲塡彙恣惧慄憬拉摯曖楷毀璧瘍箋籠緻羞訃諧貪踪辣錮頰鬱𠮟叱填"

RANGES = [
    (0x0020, 0x007E),  # ASCII
    (0x00A0, 0x00FF),  # Latin-1: × ÷ ± ° ² ³ µ ·
    (0x0391, 0x03C9),  # Greek
    (0x2010, 0x2015),  # dashes
    (0x2018, 0x2026),  # quotation marks, daggers, bullets, ellipsis
    (0x2070, 0x2089),  # superscripts and subscripts
    (0x2190, 0x2199),  # arrows
    (0x21D0, 0x21D4),  # double arrows
    (0x2200, 0x22A5),  # mathematical operators
    (0x25A0, 0x25CF),  # geometric shapes
    (0x2605, 0x2606),  # stars
    (0x3000, 0x3020),  # Japanese punctuation and brackets
    (0x3041, 0x30FF),  # kana
    (0xFF01, 0xFF9F),  # full-width ASCII, half-width katakana
    (0xFFE0, 0xFFE6),  # full-width currency signs
]


def jis_level_1():
    """The 2,965 kanji of JIS X 0208 level 1: rows 16 to 46 whole and row 47 up to cell 51."""
    cells = [(row, cell) for row in range(16, 48) for cell in range(1, 95) if (row, cell) <= (47, 51)]
    return {bytes([row + 0xA0, cell + 0xA0]).decode("euc_jp") for row, cell in cells}


def main():
    source = sys.argv[1] if len(sys.argv) > 1 else SOURCE
    options = subset.Options(
        hinting=False, layout_features=["kern"], name_IDs=[0, 1, 2, 3, 4, 5, 6, 7, 13, 14], notdef_outline=True,
        font_number=JAPANESE_FACE, recalc_timestamp=False,
    )
    font = subset.load_font(source, options)
    subsetter = subset.Subsetter(options)
    wanted = {code for first, last in RANGES for code in range(first, last + 1)}
    wanted |= {ord(kanji) for kanji in jis_level_1() | set(JOYO_BEYOND_LEVEL_1)}
    subsetter.populate(unicodes=wanted)
    subsetter.subset(font)
    subset.save_font(font, TARGET, options)
    data = TARGET.read_bytes()
    print(f"{TARGET.name}: {len(font.getBestCmap())} characters, {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
