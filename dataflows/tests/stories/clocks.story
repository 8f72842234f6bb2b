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
show sales by=hour columns=hour,lines,orders,order_revenue

# A range names the same hours, and fills them in.
show sales by=hour where=day=2019-04-07 days=2019-04-07..2019-04-07 columns=hour,lines,order_revenue
show traffic by=hour where=hour=2019-10-06T02:30:00+11:00 days=2019-10-06..2019-10-07
show traffic by=day days=2019-10-06..2019-10-06

# With two currencies a range is filled in for each.
insert
  purchase session=h order=o3 product=tea at=6T00:00 paid=300 currency=JPY
advance
show sales by=day days=2019-10-05..2019-10-07 columns=currency,day,lines,order_revenue
show traffic by=day days=2019-10-06..2019-10-06
