# Traffic: what happens per minute, hour and day. The shop is in Kathmandu: its hours begin at a quarter past, UTC.
settings zone=Asia/Kathmandu

# One session on both sides of midnight (18:15 UTC), with a user from its second event on; one guest.
insert
  page_view page=home session=a at=1T18:14
  page_view page=home session=a user=u at=1T18:15
  add_to_cart session=a user=u product=tea at=1T18:16
  remove_from_cart session=a user=u product=tea at=1T18:16:30
  purchase session=a user=u order=o1 product=tea at=1T18:20 paid=5.00
  page_view page=search session=b at=1T18:20:59
advance
show traffic
> page_views  cart_additions  purchases  active_sessions  active_users  net_sales
> 3           1               1          2                1             5.00
show traffic by=day
> day         page_views  cart_additions  purchases  active_sessions  active_users  net_sales
> 2019-10-01  1           0               0          1                0             0.00
> 2019-10-02  2           1               1          2                1             5.00
show traffic by=hour
> hour                       page_views  cart_additions  purchases  active_sessions  active_users  net_sales
> 2019-10-01T23:00:00+05:45  1           0               0          1                0             0.00
> 2019-10-02T00:00:00+05:45  2           1               1          2                1             5.00
show traffic by=minute
> minute                     page_views  cart_additions  purchases  active_sessions  active_users  net_sales
> 2019-10-01T23:59:00+05:45  1           0               0          1                0             0.00
> 2019-10-02T00:00:00+05:45  1           0               0          1                1             0.00
> 2019-10-02T00:01:00+05:45  0           1               0          1                1             0.00
> 2019-10-02T00:05:00+05:45  1           0               1          2                1             5.00
changes traffic
> all -: page_views +3, cart_additions +1, active_sessions +2, active_users +1
> all USD: purchases +1, net_sales +500, facts +1
> day 2019-10-01 -: page_views +1, active_sessions +1
> day 2019-10-02 -: page_views +2, cart_additions +1, active_sessions +2, active_users +1
> day 2019-10-02 USD: purchases +1, net_sales +500, facts +1
> hour 2019-10-01T23:00:00+05:45 -: page_views +1, active_sessions +1
> hour 2019-10-02T00:00:00+05:45 -: page_views +2, cart_additions +1, active_sessions +2, active_users +1
> hour 2019-10-02T00:00:00+05:45 USD: purchases +1, net_sales +500, facts +1
> magnitude USD: magnitude +1
> minute 2019-10-01T23:59:00+05:45 -: page_views +1, active_sessions +1
> minute 2019-10-02T00:00:00+05:45 -: page_views +1, active_sessions +1, active_users +1
> minute 2019-10-02T00:01:00+05:45 -: cart_additions +1, active_sessions +1, active_users +1
> minute 2019-10-02T00:05:00+05:45 -: page_views +1, active_sessions +2, active_users +1
> minute 2019-10-02T00:05:00+05:45 USD: purchases +1, net_sales +500, facts +1

# The session had an event in between: it was active in that minute as well, but in no new hour or day.
late by=1h
  page_view page=cart session=a at=1T18:17
advance
changes traffic
> all -: page_views +1
> day 2019-10-02 -: page_views +1
> hour 2019-10-02T00:00:00+05:45 -: page_views +1
> minute 2019-10-02T00:02:00+05:45 -: page_views +1, active_sessions +1

# A return makes net sales; a refund too, in a minute in which nobody was there.
insert
  purchase session=a user=u order=o1 product=tea at=2T05:00 quantity=-1 paid=-2.00
  refund order=o1 user=u product=tea at=2T06:00 amount=1.00
advance
show traffic by=hour
> hour                       page_views  cart_additions  purchases  active_sessions  active_users  net_sales
> 2019-10-01T23:00:00+05:45  1           0               0          1                0             0.00
> 2019-10-02T00:00:00+05:45  3           1               1          2                1             5.00
> 2019-10-02T10:00:00+05:45  0           0               0          1                1             -2.00
> 2019-10-02T11:00:00+05:45  0           0               0          0                0             -1.00
show traffic by=day days=2019-10-01..2019-10-03
> day         page_views  cart_additions  purchases  active_sessions  active_users  net_sales
> 2019-10-01  1           0               0          1                0             0.00
> 2019-10-02  3           1               1          2                1             2.00
> 2019-10-03  0           0               0          0                0             0.00
show traffic by=hour where=day=2019-10-01
> hour                       page_views  cart_additions  purchases  active_sessions  active_users  net_sales
> 2019-10-01T23:00:00+05:45  1           0               0          1                0             0.00
show traffic by=day where=hour=2019-10-02T00:00:00+05:45
> day         page_views  cart_additions  purchases  active_sessions  active_users  net_sales
> 2019-10-02  3           1               1          2                1             5.00

# With yen about, counters stand apart from money.
insert
  purchase session=c user=v order=o2 product=tea at=2T06:30 paid=300 currency=JPY
advance
show traffic
> currency  page_views  cart_additions  purchases  active_sessions  active_users  net_sales
> (none)    4           1               0          3                2             0.00
> JPY       0           0               1          0                0             300
> USD       0           0               1          0                0             2.00
show traffic by=day
> currency  day         page_views  cart_additions  purchases  active_sessions  active_users  net_sales
> (none)    2019-10-01  1           0               0          1                0             0.00
> (none)    2019-10-02  3           1               0          3                2             0.00
> JPY       2019-10-02  0           0               1          0                0             300
> USD       2019-10-02  0           0               1          0                0             2.00
