# Clocks turned by half an hour, on Lord Howe Island: on 7 April 2019 at 02:00 (15:00 UTC the day before) back to 01:30, on 6 October
# at 02:00 (15:30 UTC the day before) on to 02:30. Hours are cut there, and named by their first instants.
settings zone=Australia/Lord_Howe
insert
  page_view page=home session=a at=04-06T14:10
  page_view page=home session=b at=04-06T14:50
  page_view page=home session=c at=04-06T15:10
  page_view page=home session=d at=04-06T15:40
  purchase session=d order=o1 product=tea at=04-06T15:20 paid=1.00
  page_view page=home session=e at=5T15:10
  purchase session=f order=o2 product=tea at=5T15:40 paid=2.00
  page_view page=home session=g at=5T16:10
advance
show traffic by=hour
> hour                       page_views  cart_additions  purchases  active_sessions  active_users  net_sales
> 2019-04-07T01:00:00+11:00  2           0               0          2                0             0.00
> 2019-04-07T01:30:00+10:30  1           0               1          2                0             1.00
> 2019-04-07T02:00:00+10:30  1           0               0          1                0             0.00
> 2019-10-06T01:00:00+10:30  1           0               0          1                0             0.00
> 2019-10-06T02:30:00+11:00  0           0               1          1                0             2.00
> 2019-10-06T03:00:00+11:00  1           0               0          1                0             0.00
show sales by=hour columns=hour,lines,orders,order_revenue
> hour                       lines  orders  order_revenue
> 2019-04-07T01:30:00+10:30  1      1       1.00
> 2019-10-06T02:30:00+11:00  1      1       2.00

# A range names the same hours, and fills them in.
show sales by=hour where=day=2019-04-07 days=2019-04-07..2019-04-07 columns=hour,lines,order_revenue
> hour                       lines  order_revenue
> 2019-04-07T00:00:00+11:00  0      0.00
> 2019-04-07T01:00:00+11:00  0      0.00
> 2019-04-07T01:30:00+10:30  1      1.00
> 2019-04-07T02:00:00+10:30  0      0.00
> 2019-04-07T03:00:00+10:30  0      0.00
> 2019-04-07T04:00:00+10:30  0      0.00
> 2019-04-07T05:00:00+10:30  0      0.00
> 2019-04-07T06:00:00+10:30  0      0.00
> 2019-04-07T07:00:00+10:30  0      0.00
> 2019-04-07T08:00:00+10:30  0      0.00
> 2019-04-07T09:00:00+10:30  0      0.00
> 2019-04-07T10:00:00+10:30  0      0.00
> 2019-04-07T11:00:00+10:30  0      0.00
> 2019-04-07T12:00:00+10:30  0      0.00
> 2019-04-07T13:00:00+10:30  0      0.00
> 2019-04-07T14:00:00+10:30  0      0.00
> 2019-04-07T15:00:00+10:30  0      0.00
> 2019-04-07T16:00:00+10:30  0      0.00
> 2019-04-07T17:00:00+10:30  0      0.00
> 2019-04-07T18:00:00+10:30  0      0.00
> 2019-04-07T19:00:00+10:30  0      0.00
> 2019-04-07T20:00:00+10:30  0      0.00
> 2019-04-07T21:00:00+10:30  0      0.00
> 2019-04-07T22:00:00+10:30  0      0.00
> 2019-04-07T23:00:00+10:30  0      0.00
show traffic by=hour where=hour=2019-10-06T02:30:00+11:00 days=2019-10-06..2019-10-07
> hour                       page_views  cart_additions  purchases  active_sessions  active_users  net_sales
> 2019-10-06T02:30:00+11:00  0           0               1          1                0             2.00
show traffic by=day days=2019-10-06..2019-10-06
> day         page_views  cart_additions  purchases  active_sessions  active_users  net_sales
> 2019-10-06  2           0               1          3                0             2.00

# With two currencies a range is filled in for each.
insert
  purchase session=h order=o3 product=tea at=6T00:00 paid=300 currency=JPY
advance
show sales by=day days=2019-10-05..2019-10-07 columns=currency,day,lines,order_revenue
> currency  day         lines  order_revenue
> JPY       2019-10-05  0      0
> JPY       2019-10-06  1      300
> JPY       2019-10-07  0      0
> USD       2019-10-05  0      0.00
> USD       2019-10-06  1      2.00
> USD       2019-10-07  0      0.00
show traffic by=day days=2019-10-06..2019-10-06
> currency  day         page_views  cart_additions  purchases  active_sessions  active_users  net_sales
> (none)    2019-10-06  2           0               0          4                0             0.00
> JPY       2019-10-06  0           0               1          0                0             300
> USD       2019-10-06  0           0               1          0                0             2.00
