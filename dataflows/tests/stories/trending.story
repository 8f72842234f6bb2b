# Trending: hourly counts of each product, weighed and halved by the day when they are read.
settings zone=UTC

# Tea: two views, a cart and a line in one hour; a home page and a removal weigh nothing. Mugs: a line three days before. A return is none.
insert
  page_view page=product product=tea at=4T07:10
  page_view page=product product=tea at=4T07:20
  page_view page=home product=tea at=4T07:21
  add_to_cart product=tea at=4T07:30
  remove_from_cart product=tea at=4T07:31
  purchase order=o1 product=tea at=4T07:40 paid=5.00
  purchase order=o2 product=mug at=1T07:00 paid=5.00
  purchase order=o2 product=mug at=4T09:00 paid=-5.00 quantity=-1
advance
show trending by=product_id as_of=4T07:00
> product_id  product_views  cart_additions  purchases  weight  score
> mug         0              0               1          5       0.6250
> tea         2              1               1          10      10.0000
show trending by=product_id as_of=5T07:00
> product_id  product_views  cart_additions  purchases  weight  score
> mug         0              0               1          5       0.3125
> tea         2              1               1          10      5.0000
show trending by=hour as_of=5T07:00
> hour                       product_views  cart_additions  purchases  weight  score
> 2019-10-01T07:00:00+00:00  0              0               1          5       0.3125
> 2019-10-04T07:00:00+00:00  2              1               1          10      5.0000
show trending by=product_id where=day=2019-10-01 as_of=4T07:00
> product_id  product_views  cart_additions  purchases  weight  score
> mug         0              0               1          5       0.6250
show trending by=day days=2019-10-01..2019-10-04 as_of=3T07:00
> day         product_views  cart_additions  purchases  weight  score
> 2019-10-01  0              0               1          5       1.2500
> 2019-10-02  0              0               0          0       0.0000
> 2019-10-03  0              0               0          0       0.0000
> 2019-10-04  2              1               1          10      0.0000
changes trending
> trending 2019-10-01T07:00:00+00:00 mug: purchases +1
> trending 2019-10-04T07:00:00+00:00 tea: product_views +2, cart_additions +1, purchases +1
