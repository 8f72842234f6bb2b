//! The log: what is written is read, from any offset, however the writer ended.

use crate::{Checked, drain, texts, tiny};
use millrace_connectors::source::log::{LOG_MARKER, LogError, LogReader, LogTail, LogWriter};
use millrace_connectors::source::{LiveSource, ReadOptions, Resume, Source, SourceError, Start, open};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use tempfile::tempdir;

fn from_start(directory: &Path, options: ReadOptions) -> LogReader {
    LogReader::open(directory, |_| Some(0), options).unwrap()
}

#[test]
fn what_is_appended_is_read_across_segments_and_resumed_at_every_offset() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("log");
    let mut writer = LogWriter::open(&path, 2, 64).unwrap();
    let mut written = Vec::new();
    for number in 0..60_u32 {
        let line = format!("{{\"n\":{number}}}");
        let offset = writer.append(number % 2, line.as_bytes()).unwrap();
        written.push(((number % 2) as u16, offset, line.into_bytes()));
    }
    writer.sync().unwrap();
    assert!(fs::read_dir(path.join("partition=00000")).unwrap().count() > 3, "it has rolled");

    for chunk_bytes in [1, 5, 30, 1_000] {
        let mut read = drain(&mut from_start(&path, tiny(chunk_bytes, 7)), 7).unwrap();
        read.sort_by_key(|(partition, offset, _)| (*partition, *offset));
        let mut want = written.clone();
        want.sort_by_key(|(partition, offset, _)| (*partition, *offset));
        assert_eq!(read, want);
    }
    for (partition, offset, _) in &written {
        let start = |number| (number == u32::from(*partition)).then_some(*offset);
        let read = drain(&mut LogReader::open(&path, start, tiny(20, 3)).unwrap(), 3).unwrap();
        let want: Vec<_> = written.iter().filter(|(p, o, _)| p == partition && o >= offset).cloned().collect();
        assert_eq!(read, want);
    }
    let end = writer.end(0).unwrap();
    assert!(
        drain(&mut LogReader::open(&path, |n| (n == 0).then_some(end), tiny(9, 9)).unwrap(), 9).unwrap().is_empty()
    );
    for bad in [1, end + 1] {
        let error = LogReader::open(&path, |_| Some(bad), tiny(9, 9)).err().unwrap();
        assert!(matches!(error, SourceError::BadOffset { .. }), "{error}");
    }
}

#[test]
fn a_tailing_reader_sees_a_line_when_its_newline_is_there() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("log");
    let mut writer = LogWriter::open(&path, 1, 20).unwrap();
    let mut reader = from_start(&path, ReadOptions::default());
    assert!(reader.next_chunk().unwrap().is_none());
    let mut seen = Vec::new();
    for number in 0..10 {
        writer.append(0, format!("line {number}").as_bytes()).unwrap();
        writer.flush().unwrap();
        seen.extend(texts(&drain(&mut reader, 99).unwrap_or_else(|_| panic!("readable"))));
        assert_eq!(seen.len(), number + 1);
    }
    drop(writer);
    let last = fs::read_dir(path.join("partition=00000")).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    let mut file = OpenOptions::new().append(true).open(last).unwrap();
    file.write_all(b"torn").unwrap();
    assert!(reader.next_chunk().unwrap().is_none());
    file.write_all(b" no more\nnext").unwrap();
    assert_eq!(texts(&drain(&mut reader, 99).unwrap_or_else(|_| panic!("readable"))), ["torn no more"]);
}

#[test]
fn what_was_read_of_a_torn_line_is_forgotten_with_it() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("log");
    let mut writer = LogWriter::open(&path, 1, 1 << 20).unwrap();
    writer.append(0, b"one").unwrap();
    drop(writer);
    let segment = path.join("partition=00000/00000000000000000000.jsonl");
    OpenOptions::new().append(true).open(&segment).unwrap().write_all(b"half of a li").unwrap();
    let mut reader = from_start(&path, ReadOptions::default());
    assert_eq!(texts(&drain(&mut reader, 99).unwrap_or_else(|_| panic!("readable"))), ["one"]);
    assert!(reader.next_chunk().unwrap().is_none());
    let mut writer = LogWriter::open(&path, 1, 1 << 20).unwrap();
    writer.append(0, b"another line, and a longer one").unwrap();
    writer.append(0, b"three").unwrap();
    drop(writer);
    let read = drain(&mut reader, 99).unwrap_or_else(|_| panic!("readable"));
    assert_eq!(texts(&read), ["another line, and a longer one", "three"]);
    assert_eq!(read[0].1, 4);
}

#[test]
fn a_segment_that_is_removed_before_it_is_read_is_an_error() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("log");
    let mut writer = LogWriter::open(&path, 1, 1).unwrap();
    for line in ["one", "two", "three"] {
        writer.append(0, line.as_bytes()).unwrap();
    }
    drop(writer);
    let second = path.join("partition=00000/00000000000000000004.jsonl");
    for to_end in [false, true] {
        let one = tiny(1, 1);
        let mut reader: Box<dyn Source> = match to_end {
            false => Box::new(from_start(&path, one)),
            true => Box::new(open(std::slice::from_ref(&path), one).unwrap()),
        };
        assert!(reader.next_chunk().unwrap().is_some());
        let bytes = fs::read(&second).unwrap();
        fs::remove_file(&second).unwrap();
        let error = loop {
            match reader.next_chunk() {
                Ok(_) => std::thread::sleep(std::time::Duration::from_millis(50)),
                Err(error) => break error,
            }
        };
        let message = error.to_string();
        assert!(message.contains("offset 4") && message.contains("begins at 8"), "{message}");
        fs::write(&second, bytes).unwrap();
    }
}

#[test]
fn a_writer_cuts_a_torn_tail_off_and_goes_on() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("log");
    let mut writer = LogWriter::open(&path, 1, 1 << 20).unwrap();
    writer.append(0, b"one").unwrap();
    assert!(matches!(LogWriter::open(&path, 1, 1), Err(LogError::Locked { .. })));
    drop(writer);
    let segment = path.join("partition=00000/00000000000000000000.jsonl");
    OpenOptions::new().append(true).open(&segment).unwrap().write_all(&[b'x'; 200_000]).unwrap();
    let mut writer = LogWriter::open(&path, 1, 1 << 20).unwrap();
    assert_eq!(writer.append(0, b"two\n").unwrap(), 4);
    assert!(matches!(writer.append(0, b"a\nb"), Err(LogError::LineBreak)));
    assert!(matches!(writer.append(0, b" \n"), Err(LogError::Blank)));
    assert!(matches!(writer.append(1, b"x"), Err(LogError::NoSuchPartition(1))));
    drop(writer);
    assert_eq!(fs::read(&segment).unwrap(), b"one\ntwo\n");
    assert!(matches!(LogWriter::open(&path, 2, 1), Err(LogError::PartitionsDiffer { .. })));
}

#[test]
fn a_folder_of_other_things_does_not_become_a_log() {
    let directory = tempdir().unwrap();
    fs::write(directory.path().join("thesis.doc"), "x").unwrap();
    assert!(matches!(LogWriter::open(directory.path(), 1, 1), Err(LogError::NotALog { .. })));
    fs::write(directory.path().join(LOG_MARKER), "{\"format\":\"millrace-log\",\"version\":9,\"partitions\":1}")
        .unwrap();
    assert!(LogWriter::open(directory.path(), 1, 1).err().unwrap().to_string().contains("version 9"));
}

#[test]
fn a_path_that_is_a_log_is_read_as_one_and_a_gap_is_an_error() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("log");
    let file = directory.path().join("first.jsonl");
    fs::write(&file, "zero\n").unwrap();
    let mut writer = LogWriter::open(&path, 2, 10).unwrap();
    for (number, line) in ["one", "two", "three", "four", "five", "six"].iter().enumerate() {
        writer.append(number as u32 % 2, line.as_bytes()).unwrap();
    }
    writer.flush().unwrap();
    let mut reader = open(&[file, path.clone()], ReadOptions::default()).unwrap();
    let names: Vec<_> = reader.partitions().iter().map(|info| (info.source.clone(), info.partition)).collect();
    assert_eq!(names[1..], [(path.display().to_string(), 0), (path.display().to_string(), 1)]);
    // What comes after the reader was opened is not part of its run.
    writer.append(0, b"late").unwrap();
    writer.flush().unwrap();
    let read = drain(&mut reader, 99).unwrap();
    assert_eq!(read.iter().map(|(partition, ..)| *partition).max(), Some(2));
    let mut lines = texts(&read);
    lines.sort();
    assert_eq!(lines, ["five", "four", "one", "six", "three", "two", "zero"]);
    let progress = reader.progress();
    assert_eq!(Some(progress.consumed_bytes()), progress.total_bytes);

    let mut segments: Vec<_> = fs::read_dir(path.join("partition=00000")).unwrap().map(|e| e.unwrap().path()).collect();
    segments.sort();
    let bytes = fs::read(&segments[0]).unwrap();
    fs::write(&segments[0], &bytes[..bytes.len() - 1]).unwrap();
    assert!(matches!(open(&[path], ReadOptions::default()), Err(SourceError::BadLog { .. })));
}

#[test]
fn logs_are_tailed_from_where_an_earlier_run_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a", "b"].map(|name| folder.path().join(name));
    let mut writers = paths.each_ref().map(|path| LogWriter::open(path, 2, 100).unwrap());
    writers[0].append(1, b"{\"n\":1}").unwrap();
    writers.iter_mut().for_each(|writer| writer.flush().unwrap());

    let tail = LogTail::open(&paths, Start::Earliest, Resume::default(), tiny(64, 8)).unwrap();
    let mut tail = Checked::new(tail);
    assert_eq!(drain(&mut tail, 8).unwrap(), [(1, 0, b"{\"n\":1}".to_vec())]);
    writers[1].append(0, b"{\"n\":2}").unwrap();
    writers[1].flush().unwrap();
    assert_eq!(drain(&mut tail, 8).unwrap(), [(2, 0, b"{\"n\":2}".to_vec())]);
    let state = tail.source.status().get();
    assert_eq!(state.partitions.iter().map(|partition| partition.next).collect::<Vec<_>>(), [0, 8, 8, 0]);
    assert!(state.partitions.iter().all(|partition| partition.is_read()));

    // The order of the logs changes, and one is new: ordinals stay.
    let resume = Resume { partitions: tail.partitions().to_vec(), positions: vec![0, 8, 0, 0] };
    let more = folder.path().join("c");
    let mut third = LogWriter::open(&more, 1, 100).unwrap();
    third.append(0, b"{\"n\":3}").unwrap();
    third.flush().unwrap();
    writers[0].append(1, b"{\"n\":4}").unwrap();
    writers[0].flush().unwrap();
    let logs = [more.clone(), paths[1].clone(), paths[0].clone()];
    let mut tail = Checked::new(LogTail::open(&logs, Start::Latest, resume.clone(), tiny(64, 8)).unwrap());
    let mut read = drain(&mut tail, 8).unwrap();
    read.sort();
    assert_eq!(read, [(1, 8, b"{\"n\":4}".to_vec()), (2, 0, b"{\"n\":2}".to_vec())]);
    third.append(0, b"{\"n\":5}").unwrap();
    third.flush().unwrap();
    assert_eq!(drain(&mut tail, 8).unwrap(), [(4, 8, b"{\"n\":5}".to_vec())]);

    let refused = LogTail::open(&[more], Start::Timestamp(0), Resume::default(), tiny(64, 8));
    assert!(refused.err().unwrap().to_string().contains("set source.start"));
}

/// Nobody waits for what is not read any more, nor for a line whose end never came.
#[test]
fn a_log_that_is_no_longer_named_and_a_torn_line_are_not_left_to_read() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a", "b"].map(|name| folder.path().join(name));
    let mut writers = paths.each_ref().map(|path| LogWriter::open(path, 1, 100).unwrap());
    for writer in &mut writers {
        writer.append(0, b"{\"n\":1}").unwrap();
        writer.flush().unwrap();
    }
    let segment = paths[0].join("partition=00000/00000000000000000000.jsonl");
    OpenOptions::new().append(true).open(&segment).unwrap().write_all(b"half of a li").unwrap();
    let tail = LogTail::open(&paths, Start::Earliest, Resume::default(), tiny(64, 8)).unwrap();
    let resume = Resume { partitions: tail.partitions().to_vec(), positions: vec![0, 0] };
    let mut tail = LogTail::open(&paths[..1], Start::Earliest, resume, tiny(64, 8)).unwrap();
    assert_eq!(drain(&mut tail, 8).unwrap().len(), 1);
    let state = tail.status().get();
    assert!(state.partitions.iter().all(|partition| partition.is_read()), "{state:?}");
    let faults: Vec<_> = state.partitions.iter().map(|partition| partition.fault.as_deref()).collect();
    assert!(faults[0].is_none() && faults[1].unwrap().contains("source.log.paths"), "{faults:?}");
}
