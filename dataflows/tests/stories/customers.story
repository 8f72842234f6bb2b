# Customers: who buys how much, how often and how lately. The day begins at midnight in Kathmandu, 18:15 UTC.
settings zone=Asia/Kathmandu

# Ann orders on two days, Bob once, a guest is nobody. A line that names nobody is of its order's customer.
insert
  purchase user=ann order=a1 product=tea at=1T07:00 quantity=2 paid=6.00
  purchase order=a1 product=mug at=1T07:01 paid=4.00
  purchase user=ann order=a2 product=tea at=2T18:20 paid=3.00
  purchase user=bob order=b1 product=tea at=1T18:14 paid=9.00
  purchase order=g1 product=tea at=1T08:00 paid=1.00
advance
show customers by=user_id as_of=5T00:00
> user_id  customers  new_customers  returning_customers  orders  units  units_returned  spend  returns  first_order  last_order  days_since_order  recency  frequency  monetary  average_order_value
> ann      1          -              -                    2       4      0               13.00  0.00     2019-10-01   2019-10-03  2                 3        3          3         6.5000
> bob      1          -              -                    1       1      0               9.00   0.00     2019-10-01   2019-10-01  4                 1        1          1         9.0000
show customers by=day
> day         customers  new_customers  returning_customers  orders  units  units_returned  spend  returns  first_order  last_order  days_since_order  recency  frequency  monetary  average_order_value
> 2019-10-01  2          2              0                    -       -      -               -      -        -            -           -                 -        -          -         -
> 2019-10-03  1          0              1                    -       -      -               -      -        -            -           -                 -        -          -         -
show customers
> customers  new_customers  returning_customers  orders  units  units_returned  spend  returns  first_order  last_order  days_since_order  recency  frequency  monetary  average_order_value
> 2          -              -                    3       5      0               22.00  0.00     2019-10-01   2019-10-03  -                 -        -          -         7.3333
show customers by=segment as_of=5T00:00
> segment  customers  new_customers  returning_customers  orders  units  units_returned  spend  returns  first_order  last_order  days_since_order  recency  frequency  monetary  average_order_value
> lost     1          -              -                    1       1      0               9.00   0.00     2019-10-01   2019-10-01  -                 -        -          -         9.0000
> loyal    1          -              -                    2       4      0               13.00  0.00     2019-10-01   2019-10-03  -                 -        -          -         6.5000
changes customers
> customer ann: orders +2, first_order_day +18170, last_order_day +18172
> customer bob: orders +1, first_order_day +18170, last_order_day +18170
> day 2019-10-01: customers +2, new_customers +2
> day 2019-10-03: customers +1
> magnitude USD: magnitude +4
> spending ann USD: units +4, spend +1300, facts +2
> spending bob USD: units +1, spend +900, facts +1

# A refund that names nobody goes to the customer of its order; a line from before makes Bob's first order earlier.
insert
  refund order=a1 product=tea quantity=1 amount=3.00 at=3T10:00
  purchase user=bob order=b0 product=mug at=1T01:00 paid=2.00
advance
show customers by=user_id as_of=5T00:00
> user_id  customers  new_customers  returning_customers  orders  units  units_returned  spend  returns  first_order  last_order  days_since_order  recency  frequency  monetary  average_order_value
> ann      1          -              -                    2       4      1               13.00  3.00     2019-10-01   2019-10-03  2                 3        1          3         6.5000
> bob      1          -              -                    2       2      0               11.00  0.00     2019-10-01   2019-10-01  4                 1        1          1         5.5000
show customers by=day days=2019-09-30..2019-10-03
> day         customers  new_customers  returning_customers  orders  units  units_returned  spend  returns  first_order  last_order  days_since_order  recency  frequency  monetary  average_order_value
> 2019-09-30  0          0              0                    -       -      -               -      -        -            -           -                 -        -          -         -
> 2019-10-01  2          2              0                    -       -      -               -      -        -            -           -                 -        -          -         -
> 2019-10-02  0          0              0                    -       -      -               -      -        -            -           -                 -        -          -         -
> 2019-10-03  1          0              1                    -       -      -               -      -        -            -           -                 -        -          -         -
changes customers
> customer bob: orders +1
> magnitude USD: magnitude +2
> spending ann USD: units_returned +1, returns +300
> spending bob USD: units +1, spend +200, facts +1

# Another user in an order of Ann's: what names nobody in it is nobody's from now on.
insert
  purchase user=cid order=a1 product=mug at=4T10:00 paid=1.00
advance
show customers by=user_id as_of=5T00:00 columns=user_id,orders,units,units_returned,spend,returns,first_order,last_order
> user_id  orders  units  units_returned  spend  returns  first_order  last_order
> ann      2       3      0               9.00   0.00     2019-10-01   2019-10-03
> bob      2       2      0               11.00  0.00     2019-10-01   2019-10-01
> cid      1       1      0               1.00   0.00     2019-10-04   2019-10-04
changes customers
> customer cid: orders +1, first_order_day +18173, last_order_day +18173
> day 2019-10-04: customers +1, new_customers +1
> magnitude USD: magnitude -1
> spending ann USD: units -1, spend -400, units_returned -1, returns -300
> spending cid USD: units +1, spend +100, facts +1
