"""`backfill`: rebuilds the past of the live series, and hands it to Prometheus or a long-term store.

    plan ──▶ asking ──▶ readings ──▶ journal ──▶ rebuild ──▶ openmetrics
                                                        └──▶ push

`plan` derives the requests from the configuration. `asking` sends them through the same sender as
`serve`. `readings` reduces each answer to the samples of single days, and the journal keeps those,
so that no request is ever sent twice. Only when all answers are there does `rebuild` make series of
them. Everything up to the journal costs requests and is kept; everything after it can be repeated.
"""
