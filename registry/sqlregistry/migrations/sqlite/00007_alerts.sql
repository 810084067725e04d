-- Times are milliseconds since 1970-01-01T00:00:00Z. Days are numbered from there, which is 0.

-- +goose Up
CREATE TABLE alert_settings (
    application TEXT PRIMARY KEY,
    document    TEXT NOT NULL -- JSON; it holds the webhook's secret, by which messages are signed
) WITHOUT ROWID;

-- What was told of on a day, so that it is told of once. An empty member stands for the application's own limit.
CREATE TABLE alert_crossings (
    day         INTEGER NOT NULL,
    application TEXT NOT NULL,
    endpoint    TEXT NOT NULL,
    member      TEXT NOT NULL,
    threshold   INTEGER NOT NULL, -- the highest, in percent
    PRIMARY KEY (day, application, endpoint, member)
) WITHOUT ROWID;

-- Messages that were not delivered yet.
CREATE TABLE alert_messages (
    id          TEXT PRIMARY KEY,
    application TEXT NOT NULL,
    channel     TEXT NOT NULL,
    body        TEXT NOT NULL,
    created     INTEGER NOT NULL,
    due         INTEGER NOT NULL,
    attempts    INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX alert_messages_due ON alert_messages (due);
