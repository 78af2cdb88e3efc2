//! Every kind of input, well-formed and broken.

use super::*;
use crate::exit::code_of;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::fs;
use std::io::Write;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

fn gzip(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(bytes.as_ref()).unwrap();
    out.finish().unwrap()
}

fn zst(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    zstd::encode_all(bytes.as_ref(), 3).unwrap()
}

/// Rows are (name, text); a text of `None` is null.
fn parquet_file(rows: &[(i64, Option<&[u8]>)]) -> Vec<u8> {
    let schema =
        parse_message_type("message m { required int64 n; optional binary text (UTF8); repeated int32 many; }");
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(Vec::new(), Arc::new(schema.unwrap()), properties).unwrap();
    for rows in rows.chunks(100) {
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let numbers: Vec<i64> = rows.iter().map(|row| row.0).collect();
        column.typed::<Int64Type>().write_batch(&numbers, None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let texts: Vec<ByteArray> = rows.iter().filter_map(|row| row.1).map(ByteArray::from).collect();
        let levels: Vec<i16> = rows.iter().map(|row| i16::from(row.1.is_some())).collect();
        column.typed::<ByteArrayType>().write_batch(&texts, Some(&levels), None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let none = vec![0; rows.len()];
        column.typed::<parquet::data_type::Int32Type>().write_batch(&[], Some(&none), Some(&none)).unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.into_inner().unwrap()
}

fn options(id_column: Option<&str>) -> ReadOptions {
    ReadOptions { id_column: id_column.map(str::to_owned), ..ReadOptions::default() }
}

fn texts(path: PathBuf) -> Vec<String> {
    documents(&[path], &ReadOptions::default()).unwrap().map(|document| document.unwrap().text).collect()
}

/// The one error of a file.
fn error(path: &Path, options: &ReadOptions) -> anyhow::Error {
    let documents = documents(&[path.to_owned()], options);
    let mut errors: Vec<_> = match documents {
        Ok(documents) => documents.filter_map(Result::err).collect(),
        Err(error) => vec![error],
    };
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}

fn assert_error(path: &Path, options: &ReadOptions, expected: &[&str]) {
    let error = error(path, options);
    let message = format!("{error:#}");
    for part in expected.iter().copied().chain(path.to_str()) {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    assert_eq!(code_of(&error), Exit::Data, "{message}");
}

#[test]
fn every_kind_of_file_gives_its_documents() {
    let folder = Folder::new();
    let lines = "{\"text\":\"一\"}\n{\"n\":1,\"text\":\"二\\n行\"}\n";
    let expected = ["一", "二\n行"];
    for (name, bytes) in
        [("a.jsonl", lines.into()), ("a.json", lines.into()), ("a.JSONL.GZ", gzip(lines)), ("a.jsonl.zst", zst(lines))]
    {
        assert_eq!(texts(folder.write(name, bytes)), expected, "{name}");
    }
    let rows = [(7, Some("一".as_bytes())), (8, Some("二\n行".as_bytes()))];
    let parquet = parquet_file(&rows);
    for (name, bytes) in
        [("a.parquet", parquet.clone()), ("a.parquet.gz", gzip(&parquet)), ("a.parquet.zst", zst(&parquet))]
    {
        assert_eq!(texts(folder.write(name, bytes)), expected, "{name}");
    }
    for (name, bytes) in [("a.txt", b"x\n\ny".to_vec()), ("a.txt.gz", gzip("x\n\ny"))] {
        assert_eq!(texts(folder.write(name, bytes)), ["x", "", "y"], "{name}");
    }
    let whole = ReadOptions { whole_files: true, ..ReadOptions::default() };
    let found: Vec<_> = documents(&[folder.0.path().join("a.txt")], &whole).unwrap().map(Result::unwrap).collect();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].text, "x\n\ny");
}

#[test]
fn gzip_and_zstd_may_have_several_members() {
    let folder = Folder::new();
    let (one, two) = ("{\"text\":\"一\"}\n{\"te", "xt\":\"二\"}\n");
    assert_eq!(texts(folder.write("a.jsonl.gz", [gzip(one), gzip(two)].concat())), ["一", "二"]);
    assert_eq!(texts(folder.write("a.jsonl.zst", [zst(one), zst(two)].concat())), ["一", "二"]);
}

#[test]
fn bom_crlf_blank_lines_and_a_missing_last_newline_are_tolerated() {
    let folder = Folder::new();
    let lines = "\u{FEFF}{\"text\":\"一\"}\r\n\r\n  \n{\"text\":null}\r\n{\"text\":\"二\"}";
    let path = folder.write("a.jsonl", lines);
    let found: Vec<_> = documents(&[path], &ReadOptions::default()).unwrap().map(Result::unwrap).collect();
    let found: Vec<_> = found.iter().map(|document| (document.line, document.text.as_str())).collect();
    assert_eq!(found, [(1, "一"), (4, ""), (5, "二")]);
    assert_eq!(texts(folder.write("a.txt", "\u{FEFF}一\r\n二")), ["一", "二"]);
    assert_eq!(texts(folder.write("empty.jsonl", "")), [""; 0]);
}

#[test]
fn names_come_from_their_column() {
    let folder = Folder::new();
    let lines = folder.write("a.jsonl", "{\"text\":\"一\",\"n\":7}\n{\"n\":\"八\",\"text\":\"二\"}");
    let parquet = folder.write("a.parquet", parquet_file(&[(7, Some(b"x")), (8, None)]));
    let ids = |path| {
        let documents = documents(&[path], &options(Some("n"))).unwrap();
        documents.map(|document| document.unwrap().id.unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ids(lines), ["7", "八"]);
    assert_eq!(ids(parquet), ["7", "8"]);
}

#[test]
fn a_missing_column_names_those_that_are_there() {
    let folder = Folder::new();
    let lines = folder.write("a.jsonl", "{\"text\":\"一\"}\n{\"body\":\"二\",\"title\":\"題\"}");
    assert_error(&lines, &options(None), &[":2: ", "no column `text`, only `body`, `title`", "--column"]);
    assert_error(&lines, &options(Some("key")), &[":1: ", "no column `key`, only `text`", "--id-column"]);
    let parquet = folder.write("a.parquet", parquet_file(&[(7, Some(b"x"))]));
    let other = ReadOptions { column: "body".to_owned(), ..ReadOptions::default() };
    assert_error(&parquet, &other, &["no column `body`, only `n`, `text`", "--column"]);
}

#[test]
fn a_wrong_type_is_named() {
    let folder = Folder::new();
    let bad = |line: &str, expected: &str| {
        assert_error(&folder.write("a.jsonl", line), &options(None), &[":1: ", expected]);
    };
    bad("{\"text\":[1]}", "column `text` holds a list, not a text");
    bad("{\"text\":3}", "holds a number");
    bad("{\"text\":true}", "holds a boolean");
    bad("{\"text\":{}}", "holds an object");
    let listed = folder.write("b.jsonl", "{\"text\":\"x\",\"n\":[]}");
    assert_error(&listed, &options(Some("n")), &[":1: ", "column `n` holds a list, not a name"]);
    bad("[{\"text\":\"x\"}]", "one object a line");
    bad("{\"text\":\"x\"", "not one JSON object (EOF while parsing an object, column 11)");
    bad("{\"text\":\"x\"} {}", "trailing characters");
    bad("{\"text\":\"\\ud800\"}", "not one JSON object");
    let parquet = folder.write("a.parquet", parquet_file(&[(7, Some(b"x"))]));
    let column = |column: &str| ReadOptions { column: column.to_owned(), ..ReadOptions::default() };
    assert_error(&parquet, &column("n"), &["column `n` holds INT64, not text", "--column"]);
    assert_error(&parquet, &column("many"), &["holds lists"]);
}

#[test]
fn invalid_utf8_is_named_by_its_byte() {
    let folder = Folder::new();
    let path = folder.write("a.jsonl", b"{\"text\":\"x\"}\n{\"text\":\"\xE3\x81\"}\n");
    assert_error(&path, &options(None), &[":2: ", "byte 22 of the text (byte 10 of the line)"]);
    let path = folder.write("a.txt.gz", gzip(b"ok\nab\xFFc\n"));
    assert_error(&path, &options(None), &[":2: ", "byte 5 of the text (byte 3 of the line)"]);
    let path = folder.write("a.parquet", parquet_file(&[(1, Some(b"x")), (2, Some(b"ab\xFF"))]));
    assert_error(&path, &options(None), &[":2: ", "byte 2 of column `text`"]);
}

#[test]
fn broken_compression_is_named_by_its_byte() {
    let folder = Folder::new();
    let lines: String =
        (0..4000).map(|i| format!("{{\"text\":\"{}\"}}\n", blake3::hash(&[i as u8, (i >> 8) as u8]))).collect();
    let (gz, zst) = (gzip(&lines), zst(&lines));
    let cut = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    let half = format!("byte {}", gz.len() / 2);
    assert_error(&folder.write("cut.jsonl.gz", cut(&gz)), &options(None), &["gzip breaks at", &half, "ends too early"]);
    let half = format!("byte {}", zst.len() / 2);
    assert_error(
        &folder.write("cut.jsonl.zst", cut(&zst)),
        &options(None),
        &["zstd breaks at", &half, "ends too early"],
    );
    let flip = |mut bytes: Vec<u8>, at: usize| {
        bytes[at] ^= 0x40;
        bytes
    };
    assert_error(
        &folder.write("sum.jsonl.gz", flip(gz.clone(), gz.len() - 6)),
        &options(None),
        &["gzip breaks at byte"],
    );
    assert_error(&folder.write("head.jsonl.gz", flip(gz, 0)), &options(None), &["gzip breaks at byte", "line 1"]);
    assert_error(&folder.write("head.jsonl.zst", flip(zst, 0)), &options(None), &["zstd breaks at byte", "line 1"]);
}

#[test]
fn a_line_beyond_the_cap_is_passed_over() {
    let folder = Folder::new();
    let capped = ReadOptions { max_line_bytes: 100, bad_lines: BadLines::Skip, ..ReadOptions::default() };
    let bomb = format!("a\n{}\nb\n{}", "0".repeat(5_000_000), "1".repeat(101));
    let path = folder.write("a.txt.zst", zst(bomb));
    let found: Vec<_> = records(std::slice::from_ref(&path), &capped).unwrap().map(Result::unwrap).collect();
    let lines = found.iter().map(|record| match record {
        Record::Document(document) => (document.line, document.text.as_str()),
        Record::Bad(bad) => (bad.line, bad.reason.as_str()),
    });
    let too_long = "the line is longer than 100 bytes; raise --max-line-bytes";
    assert_eq!(lines.collect::<Vec<_>>(), [(1, "a"), (2, too_long), (3, "b"), (4, too_long)]);
    let kept: Vec<_> = documents(&[path], &capped).unwrap().map(|document| document.unwrap().text).collect();
    assert_eq!(kept, ["a", "b"]);
}

#[test]
fn damaged_parquet_is_an_error_never_a_panic() {
    let folder = Folder::new();
    let rows: Vec<(i64, Option<&[u8]>)> = (0..110).map(|i| (i, Some(&b"some text in a row"[..]))).collect();
    let good = parquet_file(&rows);
    assert_eq!(texts(folder.write("good.parquet", &good)).len(), 110);
    assert_error(&folder.write("cut.parquet", &good[..good.len() / 2]), &options(None), &["damaged Parquet"]);
    assert_error(&folder.write("none.parquet", ""), &options(None), &["damaged Parquet"]);
    let mut failed = 0;
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x55;
        let path = folder.write("bad.parquet", &bad);
        let options = options(Some("n"));
        failed +=
            documents(&[path], &options).map_or(1, |documents| usize::from(documents.into_iter().any(|d| d.is_err())));
    }
    assert!(failed > good.len() / 8, "{failed} of {}", good.len());
}

#[test]
fn globs_are_sorted_and_names_that_mean_nothing_are_refused() {
    let folder = Folder::new();
    for name in ["b.txt", "a.txt", "c.jsonl"] {
        folder.write(name, "x");
    }
    let found = expand(&[folder.0.path().join("*.txt"), PathBuf::from("-")]).unwrap();
    let names: Vec<_> = found.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["a.txt", "b.txt", "-"]);
    for (name, expected) in [("*.csv", "no file matches"), ("d.txt", "d.txt does not exist"), ("", "is a folder")] {
        let refused = expand(&[folder.0.path().join(name)]).unwrap_err();
        assert!(refused.to_string().contains(expected), "{refused}");
        assert_eq!(code_of(&refused), Exit::Usage);
    }
    let unknown = error(&folder.write("a.csv", "x"), &ReadOptions::default());
    assert_eq!(code_of(&unknown), Exit::Usage);
}

#[test]
fn a_bomb_is_refused_long_before_it_is_unpacked() {
    let folder = Folder::new();
    let zeros = vec![b'0'; 1 << 20];
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let mut zst = zstd::Encoder::new(Vec::new(), 1).unwrap();
    for _ in 0..200 {
        gz.write_all(&zeros).unwrap();
        zst.write_all(&zeros).unwrap();
    }
    let capped = ReadOptions { max_line_bytes: 100, bad_lines: BadLines::Skip, ..ReadOptions::default() };
    for (name, bytes) in [
        ("a.jsonl.gz", gz.finish().unwrap()),
        ("a.txt.zst", zst.finish().unwrap()),
        ("a.parquet.gz", gzip(zeros.repeat(200))),
    ] {
        assert!(bytes.len() < 1 << 20, "{name}: {} bytes", bytes.len());
        assert_error(&folder.write(name, bytes), &capped, &["breaks at byte", "256 times its size"]);
    }
}

#[test]
fn text_that_repeats_itself_is_no_bomb() {
    let folder = Folder::new();
    let lines = "{\"text\":\"今日は雨が降る。\"}\n".repeat(100_000);
    let read = texts(folder.write("a.jsonl.gz", gzip(&lines)));
    assert_eq!((read.len(), read[99_999].as_str()), (100_000, "今日は雨が降る。"));
}
