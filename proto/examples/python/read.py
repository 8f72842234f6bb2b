"""Reads a server without generated code: the contract comes by reflection.

    pip install -r requirements.txt
    python read.py --addr 127.0.0.1:7117 --seconds 5

A token, where the server wants one, is in MILLRACE_TOKEN.
"""

import argparse
import os
import time

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICE = "millrace.v1.Analytics"


class Server:
    """Calls methods by name; requests are dictionaries."""

    def __init__(self, channel, token):
        self.channel = channel
        self.metadata = [("authorization", f"Bearer {token}")] if token else []
        self.reflection = ProtoReflectionDescriptorDatabase(channel)
        self.pool = DescriptorPool(self.reflection)

    def services(self):
        return sorted(self.reflection.get_services())

    def call(self, name, timeout=10, **fields):
        method = self.pool.FindServiceByName(SERVICE).methods_by_name[name]
        request = GetMessageClass(method.input_type)(**fields)
        answer = GetMessageClass(method.output_type)
        make = self.channel.unary_stream if method.server_streaming else self.channel.unary_unary
        call = make(
            f"/{SERVICE}/{name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        return call(request, timeout=timeout, metadata=self.metadata)


def cell(value):
    kind = value.WhichOneof("kind")
    if kind is None:
        return None
    if kind == "money_value":
        return f"{value.money_value.amount} {value.money_value.currency}"
    return getattr(value, kind)


def query(server, view, group_by, page_size=100):
    """All rows of an answer, page by page: all of one epoch."""
    rows, token = [], ""
    while True:
        page = server.call(
            "Query", query={"view": view, "group_by": group_by}, page_size=page_size, page_token=token
        )
        rows += [[cell(value) for value in row.values] for row in page.rows]
        token = page.next_page_token
        if not token:
            return page.at.epoch, [column.name for column in page.columns], rows


def follow(server, view, group_by, seconds):
    """Folds a subscription into a dictionary; the deadline ends it."""
    rows, keys, epoch = {}, 0, 0
    query = {"view": view, "group_by": group_by}
    try:
        for message in server.call("Subscribe", timeout=seconds, query=query):
            kind = message.WhichOneof("message")
            body = getattr(message, kind)
            epoch = body.at.epoch
            if kind == "snapshot":
                if body.first:
                    rows, keys = {}, sum(column.group for column in body.columns)
                changed, removed = body.rows, []
            elif kind == "changes":
                changed, removed = body.upserted, body.removed
            else:
                changed, removed = [], []
            for row in changed:
                cells = tuple(cell(value) for value in row.values)
                rows[cells[:keys]] = cells
            for key in removed:
                rows.pop(tuple(cell(value) for value in key.values), None)
            print(f"{kind}: epoch {epoch}, {len(changed)} rows, {len(removed)} removed")
    except grpc.RpcError as error:
        if error.code() not in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE):
            raise
    return epoch, rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--addr", default="127.0.0.1:7117")
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    with grpc.insecure_channel(options.addr) as channel:
        server = Server(channel, os.environ.get("MILLRACE_TOKEN"))
        print("services:", ", ".join(server.services()))
        for view in server.call("ListViews").views:
            print(f"view {view.name}: by {', '.join(view.group_columns)}")
        sales = server.call("GetSales", group_by=["category"], limit=5)
        for row in sales.rows:
            print(f"sales {row.category}: {row.orders} orders, {row.net_sales.amount} {row.net_sales.currency}")
        for row in server.call("GetFunnel", consistency={"min_epoch": sales.at.epoch}).rows:
            print(f"funnel: {row.sessions} sessions:", ", ".join(f"{step.name} {step.ordered}" for step in row.steps))
        epoch, columns, rows = query(server, "traffic", ["hour"])
        print(f"traffic at epoch {epoch}: {len(rows)} rows of {', '.join(columns)}")
        started = time.monotonic()
        epoch, rows = follow(server, "traffic", ["hour"], options.seconds)
        print(f"followed for {time.monotonic() - started:.1f} s to epoch {epoch}: {len(rows)} rows")


if __name__ == "__main__":
    main()
