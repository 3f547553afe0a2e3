-- The sandbox's books. Instants are UTC epoch seconds; numbers are keys made from what they
-- name (bot, local day, place in the day), so they do not depend on when the books were filled.

CREATE TABLE bot (
  number INTEGER PRIMARY KEY, id TEXT NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL,
  use_case TEXT NOT NULL, default_response_language TEXT NOT NULL,
  live_agent_transfer INTEGER NOT NULL, is_enabled INTEGER NOT NULL, created_at INTEGER NOT NULL,
  workspace INTEGER NOT NULL
);

-- A person as one channel knows them: somebody on two channels is two users.
CREATE TABLE user (
  number INTEGER PRIMARY KEY, bot INTEGER NOT NULL, channel TEXT NOT NULL, title TEXT NOT NULL
);

-- What is said in a conversation of a given script: `after` is in quarters of `pace` seconds.
CREATE TABLE script_line (
  script INTEGER NOT NULL, line INTEGER NOT NULL, after INTEGER NOT NULL, sender TEXT NOT NULL,
  PRIMARY KEY (script, line)
) WITHOUT ROWID;

-- The three `..._at` beside the start are null where that never happens.
CREATE TABLE conversation (
  number INTEGER PRIMARY KEY, bot INTEGER NOT NULL, user INTEGER NOT NULL, channel TEXT NOT NULL,
  handling_status TEXT NOT NULL, started_at INTEGER NOT NULL, live_agent_at INTEGER,
  first_inbound_at INTEGER, first_reply_at INTEGER,
  script INTEGER NOT NULL, pace INTEGER NOT NULL
);

-- CUSTOMER is inbound, AGENT and BOT are outbound, SYSTEM is neither.
CREATE TABLE message (
  bot INTEGER NOT NULL, at INTEGER NOT NULL, conversation INTEGER NOT NULL, line INTEGER NOT NULL,
  sender TEXT NOT NULL,
  PRIMARY KEY (bot, at, conversation, line)
) WITHOUT ROWID;

-- A voice call stands alone: it is no conversation and has no messages.
CREATE TABLE call (
  bot INTEGER NOT NULL, started_at INTEGER NOT NULL, place INTEGER NOT NULL,
  direction TEXT NOT NULL, seconds INTEGER NOT NULL,
  PRIMARY KEY (bot, started_at, place)
) WITHOUT ROWID;

-- A system label belongs to no workspace: its `workspace` is null and all of them use it.
CREATE TABLE label (
  number INTEGER PRIMARY KEY, workspace INTEGER, id TEXT NOT NULL, name TEXT NOT NULL,
  color TEXT NOT NULL, description TEXT NOT NULL, is_system INTEGER NOT NULL,
  created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL
);

-- A label is applied to a conversation once at most.
CREATE TABLE label_application (
  bot INTEGER NOT NULL, at INTEGER NOT NULL, conversation INTEGER NOT NULL, label INTEGER NOT NULL,
  PRIMARY KEY (bot, at, conversation, label)
) WITHOUT ROWID;

-- A conversation is rated once at most.
CREATE TABLE survey_answer (
  bot INTEGER NOT NULL, created_at INTEGER NOT NULL, conversation INTEGER NOT NULL,
  rating INTEGER NOT NULL, comment TEXT NOT NULL,
  PRIMARY KEY (bot, created_at, conversation)
) WITHOUT ROWID;

CREATE TABLE agent (
  number INTEGER PRIMARY KEY, workspace INTEGER NOT NULL, account TEXT NOT NULL
);

-- A status session lasts from one change to the next of the same agent.
CREATE TABLE status_change (
  agent INTEGER NOT NULL, at INTEGER NOT NULL, status TEXT NOT NULL,
  PRIMARY KEY (agent, at)
) WITHOUT ROWID;
