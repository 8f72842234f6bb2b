# Equal scores. Apple and berry have the same cosine with tea, the root of 2/3: 6/√(6·9) and 4/√(6·4). As doubles, each from its own
# root, they differ in the last bit, and berry was first; they are equal, so the smaller id is.
insert
  add_to_cart session=s1 product=tea at=1T07:01
  add_to_cart session=s1 product=apple at=1T07:01
  add_to_cart session=s1 product=berry at=1T07:01
  add_to_cart session=s2 product=tea at=1T07:02
  add_to_cart session=s2 product=apple at=1T07:02
  add_to_cart session=s2 product=berry at=1T07:02
  add_to_cart session=s3 product=tea at=1T07:03
  add_to_cart session=s3 product=apple at=1T07:03
  add_to_cart session=s3 product=berry at=1T07:03
  add_to_cart session=s4 product=tea at=1T07:04
  add_to_cart session=s4 product=apple at=1T07:04
  add_to_cart session=s4 product=berry at=1T07:04
  add_to_cart session=s5 product=tea at=1T07:05
  add_to_cart session=s5 product=apple at=1T07:05
  add_to_cart session=s6 product=tea at=1T07:06
  add_to_cart session=s6 product=apple at=1T07:06
  add_to_cart session=s7 product=apple at=1T07:07
  add_to_cart session=s8 product=apple at=1T07:08
  add_to_cart session=s9 product=apple at=1T07:09
advance
show related_products where=product_id=tea columns=rank,related_id,n_ab,n_a,n_b,cosine
> rank  related_id  n_ab  n_a  n_b  cosine
> 1     apple       6     6    9    0.8165
> 2     berry       4     6    4    0.8165
show related_products where=product_id=tea rank_by=lift columns=rank,related_id,n_ab,n_a,n_b,lift
> rank  related_id  n_ab  n_a  n_b  lift
> 1     berry       4     6    4    1.5000
> 2     apple       6     6    9    1.0000
