//! What an engine reads, which grows between its runs.

use super::super::support::Place;
use millrace_connectors::producer::Producer;
use millrace_connectors::source::log::LogWriter;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

const PARTITIONS: u32 = 3;

pub struct Input {
    lines: Vec<Vec<u8>>,
    sent: usize,
    sink: Sink,
    pub settings: Vec<String>,
}

enum Sink {
    Log(LogWriter),
    Kafka(Producer),
}

impl Input {
    pub fn log(place: &Place, lines: Vec<Vec<u8>>) -> Input {
        let folder = place.path("log");
        let writer = LogWriter::open(&folder, PARTITIONS, 1 << 16).expect("a log");
        let settings = vec![format!("source.log.paths=['{}']", folder.display())];
        Input { lines, sent: 0, sink: Sink::Log(writer), settings }
    }

    pub fn kafka(brokers: &str, lines: Vec<Vec<u8>>) -> Input {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let topic = format!("crash-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let producer = Producer::open(brokers, &topic, PARTITIONS, &BTreeMap::new()).expect("a topic");
        let settings = vec![
            "source.kind=kafka".to_owned(),
            format!("source.kafka.brokers={brokers}"),
            format!("source.kafka.topics=[{{name=\"{topic}\"}}]"),
        ];
        Input { lines, sent: 0, sink: Sink::Kafka(producer), settings }
    }

    /// Adds as many lines as leave the same for every one of so many calls.
    pub fn grow(&mut self, calls_left: usize) {
        let count = (self.lines.len() - self.sent).div_ceil(calls_left.max(1));
        let end = (self.sent + count).min(self.lines.len());
        for (number, line) in self.lines[self.sent..end].iter().enumerate() {
            let partition = ((self.sent + number) as u32 * 7 + 3) % PARTITIONS;
            match &mut self.sink {
                Sink::Log(writer) => drop(writer.append(partition, line.trim_ascii_end()).expect("it is appended")),
                Sink::Kafka(producer) => {
                    producer.send(partition, b"", line.trim_ascii_end(), None).expect("it is sent")
                }
            }
        }
        match &mut self.sink {
            Sink::Log(writer) => writer.flush().expect("it is written"),
            Sink::Kafka(producer) => producer.flush().expect("it is acknowledged"),
        }
        self.sent = end;
    }
}
