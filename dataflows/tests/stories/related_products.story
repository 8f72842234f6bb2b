# Related products: what is viewed together in a session, and bought together in an order.
settings list_length=2 max_products=3 candidates=3 min_together=2

# Three sessions with tea and mug, one of them with a spoon too; one with tea and kettle; one with tea alone.
insert
  page_view page=product session=a product=tea at=1T07:00
  page_view page=product session=a product=mug at=1T07:01
  page_view page=product session=b product=tea at=1T07:00
  add_to_cart session=b product=mug at=1T07:01
  page_view page=product session=c product=tea at=1T07:00
  add_to_cart session=c product=mug at=1T07:01
  add_to_cart session=c product=spoon at=1T07:02
  page_view page=product session=d product=tea at=1T07:00
  add_to_cart session=d product=kettle at=1T07:02
  page_view page=product session=e product=tea at=1T07:00
advance
show related_products rank_by=n_ab
> kind             product_id  rank  related_id  n_ab  n_a  n_b  cosine  jaccard  lift    llr
> viewed_together  kettle      1     tea         1     1    5    0.4472  0.2000   1.0000  0.0000
> viewed_together  mug         1     tea         3     3    5    0.7746  0.6000   1.0000  0.0000
> viewed_together  mug         2     spoon       1     3    1    0.5774  0.3333   1.6667  1.1849
> viewed_together  spoon       1     mug         1     1    3    0.5774  0.3333   1.6667  1.1849
> viewed_together  spoon       2     tea         1     1    5    0.4472  0.2000   1.0000  0.0000
> viewed_together  tea         1     mug         3     5    3    0.7746  0.6000   1.0000  0.0000
> viewed_together  tea         2     kettle      1     5    1    0.4472  0.2000   1.0000  0.0000
show related_products
> kind             product_id  rank  related_id  n_ab  n_a  n_b  cosine  jaccard  lift    llr
> viewed_together  mug         1     tea         3     3    5    0.7746  0.6000   1.0000  0.0000
> viewed_together  tea         1     mug         3     5    3    0.7746  0.6000   1.0000  0.0000
changes related_products
> pair viewed_together kettle tea: n +1
> pair viewed_together mug spoon: n +1
> pair viewed_together mug tea: n +3
> pair viewed_together spoon mug: n +1
> pair viewed_together spoon tea: n +1
> pair viewed_together tea kettle: n +1
> pair viewed_together tea mug: n +3
> product viewed_together kettle: n +1
> product viewed_together mug: n +3
> product viewed_together spoon: n +1
> product viewed_together tea: n +5
> total viewed_together: n +5

# A page that is no product page touches nothing, nor does what is taken out of the cart. A purchase does, for its
# session and for its order; so does a return. A refund does not.
insert
  page_view page=category session=e product=kettle at=1T08:00
  remove_from_cart session=e product=kettle at=1T08:01
  purchase session=d order=o1 product=tea at=1T09:00 paid=1.00
  purchase session=d order=o1 product=spoon at=1T09:01 quantity=-1 paid=0
  refund order=o1 product=mug at=1T09:02 amount=1.00
advance
changes related_products
> pair bought_together spoon tea: n +1
> pair bought_together tea spoon: n +1
> pair viewed_together kettle spoon: n +1
> pair viewed_together spoon kettle: n +1
> pair viewed_together spoon mug: n -1
> pair viewed_together spoon tea: n +1
> pair viewed_together tea kettle: n -1
> pair viewed_together tea spoon: n +2
> product bought_together spoon: n +1
> product bought_together tea: n +1
> product viewed_together spoon: n +1
> total bought_together: n +1
show related_products rank_by=n_ab where=product_id=tea
> kind             product_id  rank  related_id  n_ab  n_a  n_b  cosine  jaccard  lift    llr
> bought_together  tea         1     spoon       1     1    1    1.0000  1.0000   1.0000  0.0000
> viewed_together  tea         1     mug         3     5    3    0.7746  0.6000   1.0000  0.0000
> viewed_together  tea         2     spoon       2     5    2    0.6325  0.4000   1.0000  0.0000

# The kettle and the spoon are in two sessions with tea each. The list of two takes the smaller text, but a list by
# score chooses among the three candidates.
insert
  add_to_cart session=e product=kettle at=1T10:00
advance
show related_products rank_by=n_ab where=product_id=tea
> kind             product_id  rank  related_id  n_ab  n_a  n_b  cosine  jaccard  lift    llr
> bought_together  tea         1     spoon       1     1    1    1.0000  1.0000   1.0000  0.0000
> viewed_together  tea         1     mug         3     5    3    0.7746  0.6000   1.0000  0.0000
> viewed_together  tea         2     kettle      2     5    2    0.6325  0.4000   1.0000  0.0000
show related_products rank_by=lift where=product_id=tea
> kind             product_id  rank  related_id  n_ab  n_a  n_b  cosine  jaccard  lift    llr
> viewed_together  tea         1     kettle      2     5    2    0.6325  0.4000   1.0000  0.0000
> viewed_together  tea         2     mug         3     5    3    0.7746  0.6000   1.0000  0.0000
show related_products rank_by=llr where=product_id=tea
> kind             product_id  rank  related_id  n_ab  n_a  n_b  cosine  jaccard  lift    llr
> viewed_together  tea         1     kettle      2     5    2    0.6325  0.4000   1.0000  0.0000
> viewed_together  tea         2     mug         3     5    3    0.7746  0.6000   1.0000  0.0000

# Session c touches a fourth product: only the three touched last count, and tea, touched first, is taken back.
insert
  add_to_cart session=c product=plate at=1T11:00
advance
changes related_products
> pair viewed_together mug plate: n +1
> pair viewed_together mug spoon: n -1
> pair viewed_together mug tea: n -1
> pair viewed_together plate mug: n +1
> pair viewed_together plate spoon: n +1
> pair viewed_together spoon mug: n +1
> pair viewed_together spoon tea: n -2
> pair viewed_together tea mug: n -1
> pair viewed_together tea spoon: n -2
> product viewed_together plate: n +1
> product viewed_together tea: n -1
> total viewed_together: capped +1
show related_products rank_by=n_ab where=product_id=tea
> kind             product_id  rank  related_id  n_ab  n_a  n_b  cosine  jaccard  lift    llr
> bought_together  tea         1     spoon       1     1    1    1.0000  1.0000   1.0000  0.0000
> viewed_together  tea         1     kettle      2     4    2    0.7071  0.5000   1.2500  1.1849
> viewed_together  tea         2     mug         2     4    3    0.5774  0.4000   0.8333  1.1849

# It turns up that c had looked at the tea again, later than at the mug: the tea is back and the mug is not.
late by=2h
  page_view page=product session=c product=tea at=1T10:59
advance
changes related_products
> pair viewed_together mug plate: n -1
> pair viewed_together plate mug: n -1
> pair viewed_together plate tea: n +1
> pair viewed_together spoon mug: n -1
> pair viewed_together spoon tea: n +2
> pair viewed_together tea spoon: n +2
> product viewed_together mug: n -1
> product viewed_together tea: n +1
