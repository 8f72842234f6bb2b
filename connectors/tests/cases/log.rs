//! The log: what is written is read, from any offset, however the writer ended.

use crate::{Checked, drain, texts, tiny};
use millrace_connectors::source::log::{LOG_MARKER, LogError, LogReader, LogTail, LogWriter};
use millrace_connectors::source::{
    LiveSource, Mark, PartitionState, ReadOptions, Remembered, Resume, Source, SourceError, Start, open,
};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
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
    let resume = Resume { partitions: tail.partitions().to_vec(), positions: vec![0, 8, 0, 0], ..Resume::default() };
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
    let resume = Resume { partitions: tail.partitions().to_vec(), positions: vec![0, 0], ..Resume::default() };
    let mut tail = LogTail::open(&paths[..1], Start::Earliest, resume, tiny(64, 8)).unwrap();
    assert_eq!(drain(&mut tail, 8).unwrap().len(), 1);
    let state = tail.status().get();
    assert!(state.partitions.iter().all(|partition| partition.is_read()), "{state:?}");
    let faults: Vec<_> = state.partitions.iter().map(|partition| partition.fault.as_deref()).collect();
    assert!(faults[0].is_none() && faults[1].unwrap().contains("source.log.paths"), "{faults:?}");
}

/// A log of one partition with these lines, and another that must not suffer.
fn two_logs(folder: &Path, lines: &[&str]) -> ([PathBuf; 2], PathBuf) {
    let paths = ["cut", "whole"].map(|name| folder.join(name));
    for path in &paths {
        let mut writer = LogWriter::open(path, 1, 1 << 20).unwrap();
        lines.iter().for_each(|line| assert!(writer.append(0, line.as_bytes()).is_ok()));
    }
    let segment = paths[0].join("partition=00000/00000000000000000000.jsonl");
    (paths, segment)
}

/// What a later run would be given.
fn resume_of(tail: &LogTail) -> Resume {
    let state = tail.status().get();
    let kept = |partition: &PartitionState| Remembered {
        mark: partition.marks.at(partition.next).cloned(),
        lost: partition.lost,
    };
    Resume {
        partitions: tail.partitions().to_vec(),
        positions: state.partitions.iter().map(|partition| partition.next).collect(),
        kept: state.partitions.iter().map(kept).collect(),
    }
}

/// What happens to a log whose lines "one", "two" and "three" were read. All are cut or written anew, to any length.
type Harm = fn(&Path);
const HARMS: [(&str, Harm); 6] = [
    ("cut", |segment| OpenOptions::new().write(true).open(segment).unwrap().set_len(4).unwrap()),
    ("emptied", |segment| fs::write(segment, "").unwrap()),
    ("as long", |segment| fs::write(segment, "ONE\nTWO\nTHREE\nfour\n").unwrap()),
    ("longer", |segment| fs::write(segment, "other\nlines\nand\nmany\nmore\n".repeat(1_000)).unwrap()),
    ("moved into its place", |segment| {
        let new = segment.with_extension("new");
        fs::write(&new, "other\nlines\nin another file\n").unwrap();
        fs::rename(new, segment).unwrap();
    }),
    ("removed and begun anew, shorter", |segment| {
        fs::remove_file(segment).unwrap();
        fs::write(segment, "one\n").unwrap();
    }),
];

#[test]
fn a_log_that_is_cut_or_written_anew_while_it_is_read_is_not_read_on() {
    for (name, harm) in HARMS {
        let folder = tempdir().unwrap();
        let (paths, segment) = two_logs(folder.path(), &["one", "two", "three"]);
        let mut tail = LogTail::open(&paths, Start::Earliest, Resume::default(), tiny(64, 8)).unwrap();
        assert_eq!(drain(&mut tail, 8).unwrap().len(), 6);
        harm(&segment);
        let mut whole = LogWriter::open(&paths[1], 1, 1 << 20).unwrap();
        whole.append(0, b"goes on").unwrap();
        whole.flush().unwrap();
        assert_eq!(texts(&drain(&mut tail, 8).unwrap()), ["goes on"], "{name}");
        let state = tail.status().get();
        let fault = state.partitions[0].fault.as_deref().unwrap_or_else(|| panic!("{name}: lag 0, and no word"));
        assert!(fault.contains("offset 14") && fault.contains("cut/partition=00000"), "{name}: {fault}");
        assert_eq!(tail.status().take_warnings(), [fault.to_owned()], "it is said once");
        assert!(tail.status().take_warnings().is_empty());
        assert_eq!((&state.partitions[1].fault, state.partitions[0].next), (&None, 14));
        // It stays so, and the others go on.
        whole.append(0, b"and on").unwrap();
        whole.flush().unwrap();
        assert_eq!(texts(&drain(&mut tail, 8).unwrap()), ["and on"]);
        assert!(tail.status().take_warnings().is_empty());
    }
}

#[test]
fn a_log_that_was_cut_or_written_anew_between_two_runs_is_refused() {
    for (name, harm) in HARMS {
        let folder = tempdir().unwrap();
        let (paths, segment) = two_logs(folder.path(), &["one", "two", "three"]);
        let mut tail = LogTail::open(&paths, Start::Earliest, Resume::default(), tiny(64, 8)).unwrap();
        assert_eq!(drain(&mut tail, 8).unwrap().len(), 6);
        let resume = resume_of(&tail);
        drop(tail);
        harm(&segment);
        let error = LogTail::open(&paths, Start::Earliest, resume.clone(), tiny(64, 8)).err();
        let error = error.unwrap_or_else(|| panic!("{name}: read on in the middle of something else"));
        assert!(matches!(error, SourceError::BadOffset { offset: 14, .. }), "{name}: {error}");
        // What it held is put back: another file, and the same log.
        fs::write(&segment, "one\ntwo\nthree\nfour\n").unwrap();
        let mut tail = LogTail::open(&paths, Start::Earliest, resume, tiny(64, 8)).unwrap();
        assert_eq!(texts(&drain(&mut tail, 8).unwrap()), ["four"], "{name}");
    }
}

/// A run that went no further than the one before it leaves what that one knew.
#[test]
fn what_a_log_is_known_by_is_kept_by_a_run_that_reads_nothing() {
    let folder = tempdir().unwrap();
    let (paths, segment) = two_logs(folder.path(), &["one", "two", "three"]);
    let mut tail = LogTail::open(&paths, Start::Earliest, Resume::default(), tiny(64, 8)).unwrap();
    drain(&mut tail, 8).unwrap();
    let mut resume = resume_of(&tail);
    // An earlier version has kept no more than positions.
    resume.kept.clear();
    let mut tail = LogTail::open(&paths, Start::Earliest, resume, tiny(64, 8)).unwrap();
    let resume = resume_of(&tail);
    assert!(matches!(resume.kept[0].mark, Some(Mark::Bytes { end: 14, length: 14, .. })), "{resume:?}");
    fs::write(&segment, "other\nlines\nof another log\n").unwrap();
    assert!(LogTail::open(&paths, Start::Earliest, resume, tiny(64, 8)).is_err());
    assert!(drain(&mut tail, 8).unwrap().is_empty());
    assert!(tail.status().get().partitions[0].fault.is_some());
}

/// Segments come and go as the log grows: none of that is harm.
#[test]
fn a_log_whose_read_segments_are_removed_is_read_on() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log");
    let mut writer = LogWriter::open(&path, 1, 20).unwrap();
    let mut tail = LogTail::open(std::slice::from_ref(&path), Start::Earliest, Resume::default(), tiny(64, 3)).unwrap();
    let mut seen = Vec::new();
    let mut resume = Resume::default();
    for number in 0..60 {
        writer.append(0, format!("line {number}").as_bytes()).unwrap();
        writer.flush().unwrap();
        seen.extend(texts(&drain(&mut tail, 3).unwrap()));
        assert_eq!(seen.len(), number + 1);
        if number == 30 {
            resume = resume_of(&tail);
        }
        let mut files: Vec<_> =
            fs::read_dir(path.join("partition=00000")).unwrap().map(|f| f.unwrap().path()).collect();
        files.sort();
        // Retention keeps one that is behind, and the last.
        files[..files.len().saturating_sub(2)]
            .iter()
            .filter(|_| number < 30)
            .for_each(|file| fs::remove_file(file).unwrap());
    }
    assert_eq!(tail.status().get().partitions[0].fault, None);
    let mut again = LogTail::open(&[path], Start::Earliest, resume, tiny(64, 3)).unwrap();
    assert_eq!(texts(&drain(&mut again, 3).unwrap()), seen[31..]);
}

/// A line that is too long to be kept, and never got its end.
#[test]
fn a_torn_line_that_is_too_long_is_forgotten_with_its_log() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log");
    let mut writer = LogWriter::open(&path, 1, 1 << 20).unwrap();
    writer.append(0, b"one").unwrap();
    drop(writer);
    let segment = path.join("partition=00000/00000000000000000000.jsonl");
    OpenOptions::new().append(true).open(&segment).unwrap().write_all(&[b'x'; 5_000]).unwrap();
    let options = ReadOptions { chunk_bytes: 64, max_records: 8, max_line_bytes: 1_000, ..ReadOptions::default() };
    let mut tail = LogTail::open(std::slice::from_ref(&path), Start::Earliest, Resume::default(), options).unwrap();
    assert_eq!(texts(&drain(&mut tail, 8).unwrap()), ["one"]);
    let mut writer = LogWriter::open(&path, 1, 1 << 20).unwrap();
    assert!(drain(&mut tail, 8).unwrap().is_empty());
    writer.append(0, b"two").unwrap();
    writer.flush().unwrap();
    assert_eq!(drain(&mut tail, 8).unwrap(), [(0, 4, b"two".to_vec())]);
    assert_eq!(tail.status().get().partitions[0].fault, None);
}

const FEW_DESCRIPTORS: &str = "MILLTEST_FEW_DESCRIPTORS";

/// As many partitions as a log may have, in a process that may have 256 files open.
#[test]
fn as_many_partitions_as_a_log_may_have_need_few_descriptors() {
    if std::env::var_os(FEW_DESCRIPTORS).is_none() {
        let mut child = std::process::Command::new("sh");
        child.args([
            "-c",
            "ulimit -n 256 && exec \"$0\" --exact log::as_many_partitions_as_a_log_may_have_need_few_descriptors",
        ]);
        let output = child.arg(std::env::current_exe().unwrap()).env(FEW_DESCRIPTORS, "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        return;
    }
    let folder = tempdir().unwrap();
    let path = folder.path().join("log");
    const COUNT: u32 = 4_096;
    let mut writer = LogWriter::open(&path, COUNT, 64).unwrap();
    let write = |writer: &mut LogWriter, round: u32| {
        (0..COUNT).for_each(|number| assert!(writer.append(number, format!("{round} {number}").as_bytes()).is_ok()));
        writer.flush().unwrap();
    };
    write(&mut writer, 0);
    let mut tail = LogTail::open(std::slice::from_ref(&path), Start::Earliest, Resume::default(), tiny(64, 8)).unwrap();
    for round in 0..3 {
        let mut read = drain(&mut tail, 8).unwrap();
        read.sort();
        let expected: Vec<String> = (0..COUNT).map(|number| format!("{round} {number}")).collect();
        assert_eq!(texts(&read), expected);
        write(&mut writer, round + 1);
    }
    drop(writer);
    let read = drain(&mut open(&[path], tiny(64, 8)).unwrap(), 8).unwrap();
    assert_eq!(read.len() as u32, COUNT * 4);
}

#[test]
fn an_error_about_a_marker_does_not_repeat_it() {
    let folder = tempdir().unwrap();
    let long = "x".repeat(20_000);
    for marker in [
        format!("{{\"format\":\"{long}\",\"version\":1,\"partitions\":1}}"),
        format!("{{\"format\":1,\"{long}\":2}}"),
        format!("\"{}\"", long.repeat(500)),
    ] {
        fs::write(folder.path().join(LOG_MARKER), marker).unwrap();
        let error = open(&[folder.path().to_owned()], ReadOptions::default()).err().unwrap().to_string();
        assert!(error.len() < 1_000 && error.contains(LOG_MARKER), "{} bytes", error.len());
    }
}
