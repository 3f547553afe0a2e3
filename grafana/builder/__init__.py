"""Makes the dashboards in `grafana/dashboards`: `python -m grafana.builder` writes them anew.

`query` has selectors, `panel` turns a panel's few words into Grafana's classic JSON, `board` puts
panels into rows and rows into a dashboard; each other file is one dashboard, and `catalogue` lists
them, with the metrics that none of them shows.
"""
