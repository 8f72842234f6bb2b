# Sales: what is sold, what comes back, and in which category.

# One order with two lines of two categories, and one of a product that no record names.
# The tea had a unit price: 2 × 3.00 before discount, 5.00 paid.
insert
  product product=tea category=Drinks at=1T00:00
  product product=mug category=Kitchen at=1T00:00
  purchase order=o1 product=tea at=1T07:30 quantity=2 unit=3.00 paid=5.00
  purchase order=o1 product=mug at=1T07:45 paid=8.00
  purchase order=o2 product=spoon at=1T09:00 paid=1.50 session=b
advance

# The order o1 counts once in each category, and once in the day.
show sales by=category
> category   lines  orders  units  units_returned  net_units  gross_sales  discounts  order_revenue  returns  returns_as_sold  net_sales  average_order_value
> (unknown)  1      1       1      0               1          1.50         0.00       1.50           0.00     0.00             1.50       1.5000
> Drinks     1      1       2      0               2          6.00         1.00       5.00           0.00     0.00             5.00       5.0000
> Kitchen    1      1       1      0               1          8.00         0.00       8.00           0.00     0.00             8.00       8.0000
show sales by=day
> day         lines  orders  units  units_returned  net_units  gross_sales  discounts  order_revenue  returns  returns_as_sold  net_sales  average_order_value
> 2019-10-01  3      2       4      0               4          15.50        1.00       14.50          0.00     0.00             14.50      7.2500
show sales by=hour,product_id columns=hour,product_id,lines,orders,units,order_revenue,average_order_value
> hour                       product_id  lines  orders  units  order_revenue  average_order_value
> 2019-10-01T07:00:00+00:00  mug         1      1       1      8.00           8.0000
> 2019-10-01T07:00:00+00:00  tea         1      1       2      5.00           5.0000
> 2019-10-01T09:00:00+00:00  spoon       1      1       1      1.50           1.5000
changes sales
> cell 2019-10-01T07:00:00+00:00 mug Kitchen Kitchen USD: lines +1, orders +1, units +1, gross_sales +800, order_revenue +800, facts +1
> cell 2019-10-01T07:00:00+00:00 tea Drinks Drinks USD: lines +1, orders +1, units +2, gross_sales +600, order_revenue +500, facts +1
> cell 2019-10-01T09:00:00+00:00 spoon (unknown) (unknown) USD: lines +1, orders +1, units +1, gross_sales +150, order_revenue +150, facts +1
> day 2019-10-01 USD: orders -1
> hour 2019-10-01T07:00:00+00:00 USD: orders -1
> magnitude USD: magnitude +3
> month 2019-10 USD: orders -1
> total USD: orders -1

# The spoon gets its record: it moves by itself from (unknown) to its category.
insert
  product product=spoon category=Kitchen at=2T00:00
advance
changes sales
> cell 2019-10-01T09:00:00+00:00 spoon (unknown) (unknown) USD: lines -1, orders -1, units -1, gross_sales -150, order_revenue -150, facts -1
> cell 2019-10-01T09:00:00+00:00 spoon Kitchen Kitchen USD: lines +1, orders +1, units +1, gross_sales +150, order_revenue +150, facts +1
show sales by=category columns=category,lines,orders,order_revenue
> category  lines  orders  order_revenue
> Drinks    1      1       5.00
> Kitchen   2      2       9.50

# Tea is food from the 3rd on. As it is now, all of its history moves; as it was, nothing does.
insert
  product product=tea category=Food at=3T00:00
  purchase order=o3 product=tea at=3T10:00 paid=2.50
advance
show sales by=category,category_as_was columns=category,category_as_was,lines,orders,order_revenue
> category  category_as_was  lines  orders  order_revenue
> Food      Drinks           1      1       5.00
> Food      Food             1      1       2.50
> Kitchen   Kitchen          2      2       9.50
show sales by=category columns=category,lines,orders,order_revenue
> category  lines  orders  order_revenue
> Food      2      2       7.50
> Kitchen   2      2       9.50

# What comes back: a return line of one tea on the 5th, and a refund for the mug on the 6th. Both are booked on their
# own day, and as sold on the 1st, when the order was. The refund of an order that nobody knows stays where it is.
insert
  purchase order=o1 product=tea at=5T12:00 quantity=-1 paid=-2.50
  refund order=o1 product=mug at=6T12:00 quantity=1 amount=8.00
  refund order=nobody-knows product=mug at=6T13:00 quantity=1 amount=1.00
advance
show sales by=day columns=day,lines,orders,units,units_returned,net_units,order_revenue,returns,returns_as_sold,net_sales
> day         lines  orders  units  units_returned  net_units  order_revenue  returns  returns_as_sold  net_sales
> 2019-10-01  3      2       4      0               4          14.50          0.00     10.50            14.50
> 2019-10-03  1      1       1      0               1          2.50           0.00     0.00             2.50
> 2019-10-05  0      0       0      1               -1         0.00           2.50     0.00             -2.50
> 2019-10-06  0      0       0      2               -2         0.00           9.00     1.00             -9.00
changes sales
> cell 2019-10-01T07:00:00+00:00 mug Kitchen Kitchen USD: returns_as_sold +800, facts +1
> cell 2019-10-01T07:00:00+00:00 tea Food Drinks USD: returns_as_sold +250, facts +1
> cell 2019-10-05T12:00:00+00:00 tea Food Food USD: units_returned +1, returns +250, facts +1
> cell 2019-10-06T12:00:00+00:00 mug Kitchen Kitchen USD: units_returned +1, returns +800, facts +1
> cell 2019-10-06T13:00:00+00:00 mug Kitchen Kitchen USD: units_returned +1, returns +100, returns_as_sold +100, facts +2
> magnitude USD: magnitude +3

# Now its sale turns up, late: what was returned as sold moves to the day of the sale.
late by=9d
  purchase order=nobody-knows product=mug at=2T08:00 paid=8.00
advance
show sales by=day columns=day,order_revenue,returns,returns_as_sold,net_sales
> day         order_revenue  returns  returns_as_sold  net_sales
> 2019-10-01  14.50          0.00     10.50            14.50
> 2019-10-02  8.00           0.00     1.00             8.00
> 2019-10-03  2.50           0.00     0.00             2.50
> 2019-10-05  0.00           2.50     0.00             -2.50
> 2019-10-06  0.00           9.00     0.00             -9.00

# A range of days has them all, also those without data. A filter keeps the shape.
show sales by=day days=2019-10-02..2019-10-06 where=category=Kitchen columns=day,lines,orders,order_revenue,returns,net_sales,average_order_value
> day         lines  orders  order_revenue  returns  net_sales  average_order_value
> 2019-10-02  1      1       8.00           0.00     8.00       8.0000
> 2019-10-03  0      0       0.00           0.00     0.00       -
> 2019-10-04  0      0       0.00           0.00     0.00       -
> 2019-10-05  0      0       0.00           0.00     0.00       -
> 2019-10-06  0      0       0.00           9.00     -9.00      -

# A record read again changes nothing. Its id with another price is not believed.
insert partition=1
  purchase id=again order=o4 product=tea at=7T10:00 paid=2.50
  purchase id=again order=o4 product=tea at=7T10:00 paid=2.50
advance
insert partition=1
  purchase id=again order=o4 product=tea at=7T10:00 paid=9.99
  purchase id=again order=o4 product=tea at=7T10:00 paid=2.50
advance
changes sales
show sales by=day where=day=2019-10-07 columns=day,lines,orders,order_revenue
> day         lines  orders  order_revenue
> 2019-10-07  1      1       2.50

# Yen come in: from now on nothing is added up over currencies.
insert
  purchase order=o5 product=tea at=8T10:00 paid=300 currency=JPY
advance
show sales columns=currency,lines,orders,order_revenue,average_order_value
> currency  lines  orders  order_revenue  average_order_value
> JPY       1      1       300            300.0000
> USD       6      5       27.50          5.5000
show sales by=month,currency columns=month,currency,orders,order_revenue
> month    currency  orders  order_revenue
> 2019-10  JPY       1       300
> 2019-10  USD       5       27.50

# A product that is deleted keeps the category it had.
insert
  product product=mug deleted=true at=9T00:00
advance
changes sales
show sales by=product_id,category where=currency=USD columns=product_id,category,lines,order_revenue
> product_id  category  lines  order_revenue
> mug         Kitchen   2      16.00
> spoon       Kitchen   1      1.50
> tea         Food      3      10.00

# Half a dollar for goodwill, for an order as a whole: it is of no product, in no units, and as sold at the order's earliest sale. A
# product that is called so is the same group.
insert
  purchase order=o1 product=mug at=1T05:00 paid=8.00
  refund order=o1 product= at=10T12:00 quantity=3 amount=0.50
advance
show sales by=day,product_id,category,category_as_was where=product_id=(none) columns=day,product_id,category,category_as_was,units_returned,returns,returns_as_sold,net_sales
> day         product_id  category  category_as_was  units_returned  returns  returns_as_sold  net_sales
> 2019-10-01  (none)      (none)    (none)           0               0.00     0.50             0.00
> 2019-10-10  (none)      (none)    (none)           0               0.50     0.00             -0.50
