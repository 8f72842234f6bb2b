//! Lines of files: boundaries, compression, faults.

use crate::{drain, read_all, texts, tiny};
use flate2::Compression;
use flate2::write::GzEncoder;
use millrace_connectors::source::{ReadOptions, Source, SourceError, open};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use tempfile::tempdir;

/// The records of a text by the plainest code: (offset, line).
fn expected(text: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut offset = 0;
    let mut records = Vec::new();
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let bare = line.strip_suffix(b"\n").unwrap_or(line);
        let bare = bare.strip_suffix(b"\r").unwrap_or(bare);
        if !bare.trim_ascii().is_empty() {
            records.push((offset, bare.to_vec()));
        }
        offset += line.len() as u64;
    }
    records
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// Numbered lines of many lengths.
fn lines(count: usize) -> Vec<u8> {
    (0..count)
        .flat_map(|number| format!("{{\"n\":{number},\"x\":\"{}\"}}\n", "y".repeat(number * 7 % 50)).into_bytes())
        .collect()
}

#[test]
fn chunks_of_every_size_give_the_same_records() {
    let directory = tempdir().unwrap();
    let inputs: [&[u8]; 8] = [
        b"{\"a\":1}\n{\"b\":2}\n",
        b"{\"a\":1}\r\n\r\n  \n{\"b\":2}\r\n",
        b"\n\n\n{\"a\":1}\n\n",
        b"{\"a\":1}\n{\"no newline\":true}",
        b"{\"a\":1}\n{\"crlf, no newline\":true}\r",
        b"x",
        b"\n \r\n\t\n",
        b"",
    ];
    for (number, input) in inputs.iter().enumerate() {
        let path = directory.path().join(format!("{number}.jsonl"));
        fs::write(&path, input).unwrap();
        for chunk_bytes in 1..40 {
            for max_records in 1..4 {
                let read = read_all(std::slice::from_ref(&path), tiny(chunk_bytes, max_records)).unwrap();
                let read: Vec<_> = read.into_iter().map(|(_, offset, bytes)| (offset, bytes)).collect();
                assert_eq!(
                    read,
                    expected(input),
                    "input {number}, chunks of {chunk_bytes} bytes, {max_records} records"
                );
            }
        }
    }
}

#[test]
fn a_byte_order_mark_is_not_part_of_the_first_record() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("bom.jsonl");
    fs::write(&path, b"\xEF\xBB\xBF{\"a\":1}\n{}\n").unwrap();
    let read = read_all(&[path], tiny(2, 1)).unwrap();
    assert_eq!(read, [(0, 3, b"{\"a\":1}".to_vec()), (0, 11, b"{}".to_vec())]);
}

#[test]
fn compressed_files_are_known_by_their_bytes_and_may_have_many_members() {
    let directory = tempdir().unwrap();
    let text = lines(1_000);
    let (left, right) = text.split_at(text.len() / 3);
    for (name, bytes) in [
        ("plain.txt", text.clone()),
        ("members.gz", [gzip(left), gzip(b""), gzip(right)].concat()),
        ("frames.zst", [zstd(left), zstd(right)].concat()),
        ("gzip-under-another-name.jsonl", gzip(&text)),
    ] {
        let path = directory.path().join(name);
        fs::write(&path, &bytes).unwrap();
        let mut reader = open(&[path], ReadOptions { max_records: 77, ..ReadOptions::default() }).unwrap();
        let read = drain(&mut reader, 77).unwrap();
        let read: Vec<_> = read.into_iter().map(|(_, offset, bytes)| (offset, bytes)).collect();
        assert_eq!(read, expected(&text), "{name}");
        let progress = reader.progress();
        assert_eq!(progress.total_bytes, Some(bytes.len() as u64));
        assert_eq!(progress.consumed_bytes(), bytes.len() as u64, "{name}");
    }
}

#[test]
fn zeros_behind_gzip_are_no_damage_and_anything_else_is() {
    let directory = tempdir().unwrap();
    let text = lines(100);
    let (left, right) = text.split_at(text.len() / 3);
    let padded = |zeros: usize| [gzip(&text), vec![0; zeros]].concat();
    let between = [gzip(left), vec![0; 700], gzip(right), vec![0; 5]].concat();
    for (number, bytes) in [padded(1), padded(512), padded(300_000), between].into_iter().enumerate() {
        let path = directory.path().join(format!("{number}.gz"));
        fs::write(&path, &bytes).unwrap();
        let mut reader = open(&[path], ReadOptions::default()).unwrap();
        let read: Vec<_> = drain(&mut reader, 8_192).unwrap().into_iter().map(|(_, at, line)| (at, line)).collect();
        assert_eq!(read, expected(&text), "file {number}");
        assert_eq!(reader.progress().consumed_bytes(), bytes.len() as u64);
    }
    for rest in [&b"{}\n"[..], b"\0\0x", b"\x1F", b"\x1F\x8B\x08"] {
        let path = directory.path().join("rest.gz");
        fs::write(&path, [&gzip(&text), rest].concat()).unwrap();
        let (read, error) = read_all(&[path], ReadOptions::default()).unwrap_err();
        assert_eq!(read.len(), 100, "all before it is in");
        assert!(matches!(error, SourceError::Damaged { .. }), "{error}");
    }
}

#[test]
fn zstd_with_a_long_window_is_read_and_one_beyond_all_readers_is_refused() {
    let directory = tempdir().unwrap();
    let text = lines(1_000);
    for window in [27, 28, 31] {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.long_distance_matching(true).unwrap();
        encoder.window_log(window).unwrap();
        // Without a size in the frame, the window that was asked for is the one that it names.
        encoder.include_contentsize(false).unwrap();
        encoder.write_all(&text).unwrap();
        let path = directory.path().join(format!("long{window}.zst"));
        fs::write(&path, encoder.finish().unwrap()).unwrap();
        let read = read_all(&[path], ReadOptions::default()).unwrap();
        assert_eq!(read.len(), 1_000, "--long={window}");
    }
    // A frame whose window is 2^32 bytes.
    let path = directory.path().join("beyond.zst");
    fs::write(&path, [0x28, 0xB5, 0x2F, 0xFD, 0x00, 22 << 3, 0x01, 0x00, 0x00]).unwrap();
    let (_, error) = read_all(&[path], ReadOptions::default()).unwrap_err();
    assert!(matches!(error, SourceError::WindowTooLarge { .. }), "{error}");
    assert!(error.to_string().contains("--long=31"), "{error}");
}

#[test]
fn what_is_packed_otherwise_is_refused_before_anything_is_read() {
    let directory = tempdir().unwrap();
    let whole = directory.path().join("whole.jsonl");
    fs::write(&whole, "{}\n").unwrap();
    // What each of them makes of `{}` and a newline, as far as it tells.
    for (name, bytes, format) in [
        ("a.jsonl.bz2", &b"BZh91AY&SY\x8D\xEF\x05\x13\x00\x00"[..], "bzip2"),
        ("empty.bz2", b"BZh9\x17\x72\x45\x38\x50\x90", "bzip2"),
        ("a.jsonl.xz", b"\xFD7zXZ\x00\x00\x04\xE6\xD6\xB4\x46", "xz"),
        ("under-another-name.jsonl", b"\xFD7zXZ\x00\x00\x04\xE6\xD6\xB4\x46", "xz"),
        ("a.jsonl.lz4", b"\x04\x22\x4D\x18\x64\x40\xA7", "lz4"),
        ("a.jsonl.lzma", b"\x5D\x00\x00\x80\x00\xFF\xFF", "lzma"),
        ("a.jsonl.zip", b"PK\x03\x04\x14\x00\x00\x00", "zip"),
        ("a.avro", b"Obj\x01\x04\x16avro.schema", "Avro"),
    ] {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        let error = open(&[whole.clone(), path.clone()], ReadOptions::default()).err().expect(name).to_string();
        assert!(error.contains(name) && error.contains(format) && error.contains("gzip or zstd"), "{error}");
        fs::remove_file(path).unwrap();
    }
    // In a folder a name is enough: it would be passed over.
    for name in ["a.jsonl.bz2", "b.xz", "c.ndjson.zip", "d.JSON.LZ4"] {
        let path = directory.path().join(name);
        fs::write(&path, "").unwrap();
        let error = open(&[directory.path().to_owned()], ReadOptions::default()).err().expect(name).to_string();
        assert!(error.contains(name), "{error}");
        fs::remove_file(path).unwrap();
    }
    // What only has such a name is read by what it holds, and what holds no events is none of ours.
    let named = directory.path().join("plain.bz2");
    fs::write(&named, "{}\n").unwrap();
    assert_eq!(read_all(std::slice::from_ref(&named), ReadOptions::default()).unwrap().len(), 1);
    fs::remove_file(named).unwrap();
    fs::write(directory.path().join("photos.zip"), b"PK\x03\x04").unwrap();
    assert_eq!(read_all(&[directory.path().to_owned()], ReadOptions::default()).unwrap().len(), 1);
}

#[test]
fn a_compressed_file_that_is_cut_off_gives_everything_before_the_cut() {
    let directory = tempdir().unwrap();
    // Incompressible enough that a cut in the middle is in the middle of the text.
    let mut state = 1_u64;
    let mut text = Vec::new();
    for _ in 0..20_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        writeln!(text, "{{\"n\":{state}}}").unwrap();
    }
    let all = expected(&text);
    for (name, bytes) in [("cut.gz", gzip(&text)), ("cut.zst", zstd(&text))] {
        let path = directory.path().join(name);
        fs::write(&path, &bytes[..bytes.len() * 2 / 3]).unwrap();
        let other = directory.path().join("whole.jsonl");
        fs::write(&other, "{}\n").unwrap();
        let mut reader = open(&[path, other], ReadOptions::default()).unwrap();
        let (read, error) = drain(&mut reader, 8_192).unwrap_err();
        assert!(read.len() > all.len() / 3 && read.len() < all.len(), "{} of {}", read.len(), all.len());
        for ((_, offset, bytes), expected) in read.iter().zip(&all) {
            assert_eq!((*offset, bytes), (expected.0, &expected.1));
        }
        let message = error.to_string();
        assert!(message.contains(name) && message.contains("byte"), "{message}");
        let rest = drain(&mut reader, 8_192).unwrap();
        assert_eq!(rest, [(1, 0, b"{}".to_vec())], "the next file is still read");
    }
}

#[test]
fn a_giant_line_is_cut_and_the_next_ones_keep_their_offsets() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("giant.jsonl");
    for (length, last) in [(5_000, true), (5_000, false), (1_001, true), (1_000, true), (999, true)] {
        let mut text = b"{\"a\":1}\n".to_vec();
        text.extend(vec![b'x'; length]);
        if last {
            text.extend(b"\n{\"b\":2}\n{\"c\":3}");
        }
        fs::write(&path, &text).unwrap();
        for chunk_bytes in [1, 7, 64, 100, 999, 4_096] {
            let options = ReadOptions { chunk_bytes, max_records: 10, max_line_bytes: 1_000, ..ReadOptions::default() };
            let mut reader = open(std::slice::from_ref(&path), options).unwrap();
            let mut read = Vec::new();
            while let Some(chunk) = reader.next_chunk().unwrap() {
                for record in chunk.records() {
                    assert!(record.bytes.len() <= 1_000 + chunk_bytes, "memory is bounded");
                    read.push((record.offset, record.true_bytes));
                }
            }
            let want: Vec<_> = expected(&text).iter().map(|(offset, line)| (*offset, line.len() as u64)).collect();
            assert_eq!(read, want, "a line of {length} in chunks of {chunk_bytes}");
        }
    }
}

#[test]
fn directories_are_read_in_the_order_of_their_names() {
    let directory = tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir_all(at("b/deep")).unwrap();
    fs::write(at("c.ndjson"), "3\n").unwrap();
    fs::write(at("a.jsonl"), "1\n").unwrap();
    fs::write(at("b/deep/x.json"), "2\n").unwrap();
    for ignored in ["README.md", ".hidden.jsonl", "_SUCCESS"] {
        fs::write(at(ignored), "no\n").unwrap();
    }
    let mut reader = open(&[directory.path().to_owned()], ReadOptions::default()).unwrap();
    let sources: Vec<_> = reader.partitions().iter().map(|partition| partition.source.clone()).collect();
    assert_eq!(sources, ["a.jsonl", "b/deep/x.json", "c.ndjson"].map(|name| at(name).display().to_string()));
    let read = drain(&mut reader, 8_192).unwrap();
    assert_eq!(texts(&read), ["1", "2", "3"]);
    assert_eq!(read.iter().map(|(partition, ..)| *partition).collect::<Vec<_>>(), [0, 1, 2]);

    let mut split = open(&[directory.path().to_owned()], ReadOptions::default()).unwrap().split(2);
    assert_eq!(texts(&drain(&mut split[0], 9).unwrap_or_else(|_| panic!("readable"))), ["1", "3"]);
    assert_eq!(texts(&drain(&mut split[1], 9).unwrap_or_else(|_| panic!("readable"))), ["2"]);
}

#[test]
fn what_is_missing_is_named_before_anything_is_read() {
    let directory = tempdir().unwrap();
    let good = directory.path().join("good.jsonl");
    fs::write(&good, "1\n").unwrap();
    let missing = directory.path().join("missing.jsonl");
    let Err(error) = open(&[good, missing], ReadOptions::default()) else { panic!("a file is missing") };
    assert!(matches!(error, SourceError::Unreadable { .. }));
    assert!(error.to_string().contains("missing.jsonl"), "{error}");

    let empty = directory.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert!(matches!(open(&[empty], ReadOptions::default()), Err(SourceError::EmptyDirectory { .. })));
    assert!(matches!(open(&[], ReadOptions::default()), Err(SourceError::NoInput)));
    let twice = [PathBuf::from("-"), PathBuf::from("-")];
    assert!(matches!(open(&twice, ReadOptions::default()), Err(SourceError::StandardInputTwice)));
}

#[cfg(unix)]
#[test]
fn a_directory_that_cannot_be_read_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempdir().unwrap();
    let closed = directory.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read_dir(&closed).is_ok() {
        // Root may read everything; a link to nowhere is unreadable to everybody.
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(directory.path().join("nowhere"), closed.join("events.jsonl")).unwrap();
    }
    let Err(error) = open(&[directory.path().to_owned()], ReadOptions::default()) else { panic!("it is closed") };
    assert!(error.to_string().contains("closed"), "{error}");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
}
