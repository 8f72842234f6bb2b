# Devices: page views by day and device. The day begins at midnight in New York, 04:00 UTC.
settings zone=America/New_York

insert
  page_view page=home device=phone at=2T03:59
  page_view page=home device=phone at=2T04:00
  page_view page=product product=tea device=desk at=2T05:00
  page_view page=home at=2T06:00
  add_to_cart product=tea at=2T06:01
advance
show devices
> page_views
> 4
show devices by=day
> day         page_views
> 2019-10-01  1
> 2019-10-02  3
show devices by=day,device
> day         device  page_views
> 2019-10-01  phone   1
> 2019-10-02  (none)  1
> 2019-10-02  desk    1
> 2019-10-02  phone   1
show devices by=device where=day=2019-10-02
> device  page_views
> (none)  1
> desk    1
> phone   1
show devices by=day days=2019-10-01..2019-10-03 where=device=desk
> day         page_views
> 2019-10-01  0
> 2019-10-02  1
> 2019-10-03  0
changes devices
> devices 2019-10-01 phone: page_views +1
> devices 2019-10-02 (none): page_views +1
> devices 2019-10-02 desk: page_views +1
> devices 2019-10-02 phone: page_views +1

# A copy changes nothing.
insert
  page_view page=home device=phone at=2T03:59 id=copy
  page_view page=home device=phone at=2T03:59 id=copy
advance
changes devices
> devices 2019-10-01 phone: page_views +1
