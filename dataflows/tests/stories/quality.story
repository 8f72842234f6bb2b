# Quality: what becomes of the records of two sources, shop (partitions 0 and 1) and web (2).

# A good record, the same one twice more, another claim to its id, and a line that is none.
insert
  user user=u at=1T00:00
  product product=tea category=Drinks at=1T00:00
  page_view id=e1 page=product session=a user=u product=tea at=1T07:00
  page_view id=e1 page=product session=a user=u product=tea at=1T07:00
  page_view id=e1 page=home session=a user=u at=1T07:00
  {"event_type": "page_view"
insert partition=2
  page_view id=e1 page=product session=a user=u product=tea at=1T07:00
advance
show quality
> read  accepted  duplicates  quarantined  pending  late  warned  quality_score
> 7     3         2           2            0        0     0       0.7143
show quality by=source
> source  read  accepted  duplicates  quarantined  pending  late  warned  quality_score
> shop    6     3         1           2            0        0     0       0.6667
> web     1     0         1           0            0        0     0       1.0000
show quality by=source,rule
> source  rule            read  accepted  duplicates  quarantined  pending  late  warned  quality_score
> shop    id_conflict     6     3         1           1            0        0     0       0.8333
> shop    malformed_json  6     3         1           1            0        0     0       0.8333
show quality by=hour
> hour                       read  accepted  duplicates  quarantined  pending  late  warned  quality_score
> -                          1     0         0           1            0        0     0       0.0000
> 2019-10-01T00:00:00+00:00  2     2         0           0            0        0     0       1.0000
> 2019-10-01T07:00:00+00:00  4     1         2           1            0        0     0       0.7500
changes quality
> quality 2019-10-01T00:00:00+00:00 shop: read +2, accepted +2
> quality 2019-10-01T07:00:00+00:00 shop id_conflict: quarantined +1
> quality 2019-10-01T07:00:00+00:00 shop: read +3, accepted +1, duplicates +1
> quality 2019-10-01T07:00:00+00:00 web: read +1, duplicates +1
> quality unknown shop malformed_json: quarantined +1
> quality unknown shop: read +1

# What is rejected: a field is missing, of the wrong type, no time, a negative price; too far in the future (r6; r5 is just not).
insert partition=2
  {"event_type":"purchase","event_id":"r1","event_time":"2019-10-01T08:00:00Z","session_id":"a"}
  {"event_type":"page_view","event_id":"r2","event_time":"2019-10-01T08:00:00Z","session_id":"a","page_type":7}
  {"event_type":"page_view","event_id":"r3","event_time":"half past eight","session_id":"a","page_type":"home"}
  purchase id=r4 order=o1 product=tea at=1T08:00 paid=-1.00
  {"event_type":"page_view","event_id":"r5","event_time":"2019-10-01T08:05:00Z","session_id":"a","page_type":"home","received_at":"2019-10-01T08:00:00Z"}
  {"event_type":"page_view","event_id":"r6","event_time":"2019-10-01T08:05:01Z","session_id":"a","page_type":"home","received_at":"2019-10-01T08:00:00Z"}
advance
show quality by=source,rule where=source=web
> source  rule             read  accepted  duplicates  quarantined  pending  late  warned  quality_score
> web     future_time      7     1         1           1            0        0     0       0.8571
> web     missing_field    7     1         1           1            0        0     0       0.8571
> web     negative_price   7     1         1           1            0        0     0       0.8571
> web     unparsable_time  7     1         1           1            0        0     0       0.8571
> web     wrong_type       7     1         1           1            0        0     0       0.8571
show quality by=hour
> hour                       read  accepted  duplicates  quarantined  pending  late  warned  quality_score
> -                          6     0         0           6            0        0     0       0.0000
> 2019-10-01T00:00:00+00:00  2     2         0           0            0        0     0       1.0000
> 2019-10-01T07:00:00+00:00  4     1         2           1            0        0     0       0.7500
> 2019-10-01T08:00:00+00:00  1     1         0           0            0        0     0       1.0000

# What is odd: an unknown page, half a cent, nothing bought, somebody and something that no record names, and money back for an order of
# which nothing is known.
insert
  page_view page=lounge session=b user=v at=1T09:00
  purchase order=o1 session=b product=mug quantity=0 paid=1.005 at=1T09:01
  refund order=o9 user=v product=mug amount=1.00 at=1T09:02
advance
show quality by=rule where=hour=2019-10-01T09:00:00+00:00
> rule                     read  accepted  duplicates  quarantined  pending  late  warned  quality_score
> amount_rounded           3     3         0           0            0        0     1       1.0000
> quantity_zero            3     3         0           0            0        0     1       1.0000
> returned_more_than_paid  3     3         0           0            0        0     1       1.0000
> unknown_page_type        3     3         0           0            0        0     1       1.0000
> unknown_product          3     3         0           0            0        0     2       1.0000
> unknown_user             3     3         0           0            0        0     2       1.0000
# Their records arrive: the warnings are taken back.
insert
  user user=v at=1T10:00
  product product=mug at=1T10:00
advance
changes quality
> quality 2019-10-01T09:00:00+00:00 shop unknown_product: warned -2
> quality 2019-10-01T09:00:00+00:00 shop unknown_user: warned -2
> quality 2019-10-01T10:00:00+00:00 shop: read +2, accepted +2
show quality by=rule where=hour=2019-10-01T09:00:00+00:00
> rule                     read  accepted  duplicates  quarantined  pending  late  warned  quality_score
> amount_rounded           3     3         0           0            0        0     1       1.0000
> quantity_zero            3     3         0           0            0        0     1       1.0000
> returned_more_than_paid  3     3         0           0            0        0     1       1.0000
> unknown_page_type        3     3         0           0            0        0     1       1.0000

# Late is more than ten minutes after its time, by the hour in which it came. It is counted and kept.
late by=10m
  page_view page=home session=c at=1T11:55
late by=601s
  page_view id=late page=home session=c at=1T11:56
advance
show quality by=hour,rule where=rule=late
> hour                       rule  read  accepted  duplicates  quarantined  pending  late  warned  quality_score
> 2019-10-01T12:00:00+00:00  late  2     2         0           0            0        1     0       1.0000
# A second copy of the late one is a duplicate, not late.
late by=3h
  page_view id=late page=home session=c at=1T11:56
advance
changes quality
> quality 2019-10-01T14:00:00+00:00 shop: read +1, duplicates +1

# An order whose lines disagree on the session, and of which more comes back than was paid.
insert
  purchase order=o2 session=a product=tea paid=5.00 at=2T07:00
  purchase order=o2 session=b product=tea paid=5.00 at=2T08:00
  refund order=o2 product=tea amount=10.01 at=2T09:00
advance
show quality by=hour,rule where=day=2019-10-02
> hour                       rule                     read  accepted  duplicates  quarantined  pending  late  warned  quality_score
> 2019-10-02T07:00:00+00:00  order_disagrees          1     1         0           0            0        0     1       1.0000
> 2019-10-02T08:00:00+00:00  order_disagrees          1     1         0           0            0        0     1       1.0000
> 2019-10-02T09:00:00+00:00  returned_more_than_paid  1     1         0           0            0        0     1       1.0000
# It turns out that more was paid.
insert
  purchase order=o2 session=a product=tea paid=0.01 at=2T07:30
advance
changes quality
> quality 2019-10-02T07:00:00+00:00 shop order_disagrees: warned +1
> quality 2019-10-02T07:00:00+00:00 shop: read +1, accepted +1
> quality 2019-10-02T09:00:00+00:00 shop returned_more_than_paid: warned -1
show quality by=day days=2019-10-01..2019-10-03
> day         read  accepted  duplicates  quarantined  pending  late  warned  quality_score
> 2019-10-01  15    11        3           1            0        1     4       0.9333
> 2019-10-02  4     4         0           0            0        0     3       1.0000
> 2019-10-03  0     0         0           0            0        0     0       -

# A range keeps what is known of a day without a row of one rule.
show quality by=day where=rule=late days=2019-10-01..2019-10-03
> day         read  accepted  duplicates  quarantined  pending  late  warned  quality_score
> 2019-10-01  15    11        3           0            0        1     0       1.0000
> 2019-10-02  4     4         0           0            0        0     0       1.0000
> 2019-10-03  0     0         0           0            0        0     0       -

# Dollars were paid, and yen come back.
insert
  purchase order=o7 product=tea paid=5.00 at=4T07:00
  refund order=o7 product=tea amount=1 currency=JPY at=4T08:00
  refund order=o7 product=tea amount=5.00 at=4T09:00
advance
show quality by=hour,rule where=day=2019-10-04
> hour                       rule                     read  accepted  duplicates  quarantined  pending  late  warned  quality_score
> 2019-10-04T08:00:00+00:00  returned_more_than_paid  1     1         0           0            0        0     1       1.0000
