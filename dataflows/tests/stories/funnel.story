# Funnel: how far sessions come.

# a goes straight through in ten minutes and skips the optional checkout. b fills the cart before it looks.
# c only looks around. Two come by an advertisement.
insert
  product product=tea category=Drinks at=1T00:00
  page_view page=home session=a at=1T07:00 referrer=ads device=phone
  page_view page=product session=a product=tea at=1T07:02
  add_to_cart session=a product=tea at=1T07:05
  purchase session=a order=o1 product=tea at=1T07:10 paid=5.00
  add_to_cart session=b product=mug at=1T08:00
  page_view page=product_detail session=b product=mug at=1T08:10 referrer=ads
  checkout_started session=b at=1T08:20
  page_view page=home session=c at=1T09:00
advance
show funnel
> sessions  reached_view  reached_product_view  reached_cart  reached_checkout  reached_purchase  ordered_view  ordered_product_view  ordered_cart  ordered_checkout  ordered_purchase  carts_abandoned  cart_abandonment  step_conversion_product_view  step_conversion_cart  step_conversion_checkout  step_conversion_purchase  overall_conversion  median_seconds_to_purchase  p90_seconds_to_purchase  mean_seconds_to_purchase  immature_until             capped_sessions
> 3         3             2                     2             1                 1                 3             2                     1             0                 1                 1                0.5000            0.6667                        0.5000                0.0000                    1.0000                    0.3333              606.6867                    606.6867                 606.6867                  2019-10-03T00:00:00+00:00  0
show funnel by=day,category,referrer columns=day,category,referrer,sessions,reached_cart,ordered_cart,reached_purchase,ordered_purchase
> day         category   referrer  sessions  reached_cart  ordered_cart  reached_purchase  ordered_purchase
> 2019-10-01  (none)     (none)    1         0             0             0                 0
> 2019-10-01  (unknown)  ads       1         1             0             0                 0
> 2019-10-01  Drinks     ads       1         1             1             1                 1
changes funnel
> counters 2019-10-01 (none) (none) (none): sessions +1, reached_view +1, ordered_view +1
> counters 2019-10-01 (unknown) ads (none): sessions +1, carts +1, carts_abandoned +1, reached_view +1, reached_product_view +1, reached_cart +1, reached_checkout +1, ordered_view +1, ordered_product_view +1
> counters 2019-10-01 Drinks ads phone: sessions +1, carts +1, reached_view +1, reached_product_view +1, reached_cart +1, reached_purchase +1, ordered_view +1, ordered_product_view +1, ordered_cart +1, ordered_purchase +1
> durations 2019-10-01 Drinks ads phone 415: sessions +1

# What was missing arrives late and out of order: b had put the mug into its cart after its view too, and c had looked
# at tea on the evening before: its cohort changes, its category, and how far it came.
late by=3h
  add_to_cart session=b product=mug at=1T08:15
  page_view page=product_detail session=c product=tea at=09-30T23:50
  page_view page=category session=c at=1T08:50
advance
changes funnel
> counters 2019-09-30 Drinks (none) (none): sessions +1, reached_view +1, reached_product_view +1, ordered_view +1, ordered_product_view +1
> counters 2019-10-01 (none) (none) (none): sessions -1, reached_view -1, ordered_view -1
> counters 2019-10-01 (unknown) ads (none): ordered_cart +1, ordered_checkout +1
show funnel by=category columns=category,sessions,ordered_view,ordered_product_view,ordered_cart,reached_checkout,ordered_checkout,carts_abandoned,cart_abandonment
> category   sessions  ordered_view  ordered_product_view  ordered_cart  reached_checkout  ordered_checkout  carts_abandoned  cart_abandonment
> (unknown)  1         1             1                     1             1                 1                 1                1.0000
> Drinks     2         2             2                     1             0                 0                 0                0.0000

# The mug gets a record, the tea another one: sessions move with the first product they viewed.
insert
  product product=mug category=Kitchen at=1T00:00
  product product=tea category=Food at=4T00:00
advance
changes funnel
> counters 2019-09-30 Drinks (none) (none): sessions -1, reached_view -1, reached_product_view -1, ordered_view -1, ordered_product_view -1
> counters 2019-09-30 Food (none) (none): sessions +1, reached_view +1, reached_product_view +1, ordered_view +1, ordered_product_view +1
> counters 2019-10-01 (unknown) ads (none): sessions -1, carts -1, carts_abandoned -1, reached_view -1, reached_product_view -1, reached_cart -1, reached_checkout -1, ordered_view -1, ordered_product_view -1, ordered_cart -1, ordered_checkout -1
> counters 2019-10-01 Drinks ads phone: sessions -1, carts -1, reached_view -1, reached_product_view -1, reached_cart -1, reached_purchase -1, ordered_view -1, ordered_product_view -1, ordered_cart -1, ordered_purchase -1
> counters 2019-10-01 Food ads phone: sessions +1, carts +1, reached_view +1, reached_product_view +1, reached_cart +1, reached_purchase +1, ordered_view +1, ordered_product_view +1, ordered_cart +1, ordered_purchase +1
> counters 2019-10-01 Kitchen ads (none): sessions +1, carts +1, carts_abandoned +1, reached_view +1, reached_product_view +1, reached_cart +1, reached_checkout +1, ordered_view +1, ordered_product_view +1, ordered_cart +1, ordered_checkout +1
> durations 2019-10-01 Drinks ads phone 415: sessions -1
> durations 2019-10-01 Food ads phone 415: sessions +1
show funnel by=category columns=category,sessions
> category  sessions
> Food      2
> Kitchen   1

# The window is 24 h from the first event of a chain, to the microsecond. d makes it, e does not, f does from its
# second view on. The cohort of f is the day of its first event all the same.
insert
  page_view page=product session=d product=tea at=5T10:00
  add_to_cart session=d product=tea at=6T09:00
  purchase session=d order=o2 product=tea at=6T10:00 paid=1.00
  page_view page=product session=e product=tea at=5T10:00
  add_to_cart session=e product=tea at=6T09:00
  purchase session=e order=o3 product=tea at=6T10:00:00.000001 paid=1.00
  page_view page=product session=f product=tea at=5T10:00
  page_view page=product session=f product=tea at=6T11:00
  add_to_cart session=f product=tea at=6T11:30
  purchase session=f order=o4 product=tea at=6T12:00 paid=1.00
advance
show funnel by=day
> day         sessions  reached_view  reached_product_view  reached_cart  reached_checkout  reached_purchase  ordered_view  ordered_product_view  ordered_cart  ordered_checkout  ordered_purchase  carts_abandoned  cart_abandonment  step_conversion_product_view  step_conversion_cart  step_conversion_checkout  step_conversion_purchase  overall_conversion  median_seconds_to_purchase  p90_seconds_to_purchase  mean_seconds_to_purchase  immature_until             capped_sessions
> 2019-09-30  1         1             1                     0             0                 0                 1             1                     0             0                 0                 0                -                 1.0000                        0.0000                -                         -                         0.0000              -                           -                        -                         -                          0
> 2019-10-01  2         2             2                     2             1                 1                 2             2                     2             1                 1                 1                0.5000            1.0000                        1.0000                0.5000                    0.5000                    0.5000              606.6867                    606.6867                 606.6867                  -                          0
> 2019-10-05  3         3             3                     3             0                 3                 3             3                     3             0                 2                 0                0.0000            1.0000                        1.0000                0.0000                    0.6667                    0.6667              3513.8177                   87957.5188               45735.6682                2019-10-07T00:00:00+00:00  0
show funnel by=day as_of=9T00:00 columns=day,sessions,immature_until
> day         sessions  immature_until
> 2019-09-30  1         -
> 2019-10-01  2         -
> 2019-10-05  3         -
show funnel by=day days=2019-10-04..2019-10-06 columns=day,sessions,ordered_purchase,overall_conversion
> day         sessions  ordered_purchase  overall_conversion
> 2019-10-04  0         0                 -
> 2019-10-05  3         2                 0.6667
> 2019-10-06  0         0                 -

# Everything at one instant is in order. A returned line is no purchase.
insert
  purchase session=g order=o5 product=tea at=7T10:00 paid=1.00
  add_to_cart session=g product=tea at=7T10:00
  page_view page=product session=g product=tea at=7T10:00
  page_view page=product session=h product=tea at=7T10:00
  add_to_cart session=h product=tea at=7T10:01
  purchase session=h order=o5 product=tea at=7T10:02 quantity=-1 paid=-1.00
advance
show funnel by=day where=day=2019-10-07 columns=sessions,reached_purchase,ordered_cart,ordered_purchase,carts_abandoned,cart_abandonment,median_seconds_to_purchase
> sessions  reached_purchase  ordered_cart  ordered_purchase  carts_abandoned  cart_abandonment  median_seconds_to_purchase
> 2         1                 2             1                 1                0.5000            0.0000
