"""Probing: asking a bot a question, as one of its users would, to see whether it answers.

The analytics say what happened; a bot with few users may be broken for hours before they show it.
A probe asks. It goes the way of a user's message: it gets or creates a conversation, sends a
question, and holds the bot's reply against a regular expression.

Three things set a probe apart from a poll, and this package follows from them.

1. A probe costs. It is a message that the bot's own analytics count, and that a language model
   answers. So the scraper does not decide how often a bot is probed: a result is served again until
   the module's interval is over, and all who ask meanwhile wait for the same probe (`prober`). A
   scrape that goes away changes nothing, because the probe belongs to nobody. No request of a probe
   is ever sent again, whatever comes of it.
2. A probe is a request like any other. It goes through the workspace's sender, so the rate limit,
   the daily budget, the requested pauses, the circuit breaker and the health of the key hold for
   it. If they hold it back, nothing was learned about the bot, and the result says that instead of
   a failure. The reverse does not hold: that a bot takes too long to answer says nothing about the
   API, so the breaker does not hear of it.
3. A probe reads what a bot says. None of it leaves the function that holds it against the pattern
   (`conversation`): not into a result, a log, an error or a metric.

The parts: `conversation` has the requests and reads the replies, `result` says what came of a probe
and how Prometheus sees it, `exchange` asks one bot once, and `prober` decides who is asked when.
"""
