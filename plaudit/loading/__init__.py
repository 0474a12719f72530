"""`plaudit load`: a file of actions into a running Plaudit, once and in order.

mapping.py   which column is what             rows.py      file -> rows
requests.py  rows -> requests, per lane       client.py    requests -> API
manifest.py  how far a file is sent           refusals.py  rows that were refused
progress.py  the bar                          load.py      all of it together
"""
