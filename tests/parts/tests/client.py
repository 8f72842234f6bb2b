"""A client that a broker must satisfy: topics, transactions, consumer groups, times, deletion.

client.py BOOTSTRAP [KEY=VALUE ...]    settings of the client

Prints `ok`, ends with 3 where the broker refuses us or we refuse it, and with a traceback at anything else.
"""

import os
import sys
import uuid

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

TIMEOUT_S = 15
PARTITIONS = 2
# A millisecond of 2001 and one of 2040: a broker must neither refuse nor drop records for their time.
OLD_MS, LATE_MS = 1_000_000_000_000, 2_208_988_800_000


def main(bootstrap: str, *settings: str) -> None:
    common = {"bootstrap.servers": bootstrap} | dict(setting.split("=", 1) for setting in settings)
    admin = AdminClient(common | {"error_cb": end_if_refused})
    topic = f"t-{uuid.uuid4()}"
    created = admin.create_topics([NewTopic(topic, num_partitions=PARTITIONS, replication_factor=1)])[topic]
    while not created.done():
        admin.poll(0.1)
    created.result()

    transactions(common, topic)
    groups(common, topic)
    times(common, topic)
    first = TopicPartition(topic, 0, 1)
    assert admin.delete_records([first])[first].result(TIMEOUT_S).low_watermark == 1
    print("ok")


def end_if_refused(error: KafkaError) -> None:
    """The library would try again and again."""
    if error.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL):
        print(error, file=sys.stderr)
        os._exit(3)


def transactions(common: dict, topic: str) -> None:
    """Ten records committed, ten aborted between them."""
    producer = Producer(common | {"transactional.id": topic})
    producer.init_transactions(TIMEOUT_S)
    for outcome, time_ms in [("first", OLD_MS), ("aborted", OLD_MS), ("second", LATE_MS)]:
        producer.begin_transaction()
        for number in range(5):
            producer.produce(topic, f"{outcome} {number}", partition=number % PARTITIONS, timestamp=time_ms)
        if outcome == "aborted":
            producer.flush(TIMEOUT_S)
            producer.abort_transaction(TIMEOUT_S)
        else:
            producer.commit_transaction(TIMEOUT_S)


def groups(common: dict, topic: str) -> None:
    """Two consumers of a group, one after the other: together they see what was committed, each record once."""
    seen = []
    for count in [4, 6]:
        consumer = Consumer(
            common
            | {
                "group.id": topic,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
            }
        )
        consumer.subscribe([topic])
        while count > 0:
            for message in consumer.consume(count, timeout=TIMEOUT_S) or [None]:
                assert message is not None, f"no more records after {seen}"
                if message.error():
                    raise KafkaException(message.error())
                seen.append(message.value().decode())
                count -= 1
        consumer.commit(asynchronous=False)
        consumer.close()
    expected = [f"{outcome} {number}" for outcome in ["first", "second"] for number in range(5)]
    assert sorted(seen) == expected, seen


def times(common: dict, topic: str) -> None:
    consumer = Consumer(common | {"group.id": f"{topic}-times"})
    [found] = consumer.offsets_for_times([TopicPartition(topic, 0, OLD_MS + 1)], TIMEOUT_S)
    # After the three records comes the mark of their commit, which has the broker's own time.
    assert found.offset == 3, found
    consumer.close()


main(*sys.argv[1:])
