-- Days are numbered from 1970-01-01, which is 0. Times are milliseconds since 1970-01-01T00:00:00Z.

-- +goose Up
-- What the history is of. An empty endpoint stands for all of the application's together.
CREATE TABLE history_names (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    application TEXT NOT NULL,
    endpoint    TEXT NOT NULL,
    last        INTEGER NOT NULL, -- the last day of which there is something
    UNIQUE (application, endpoint)
);

-- What became of calls, by the hour. The day comes first: what is written lies together, and so does what is forgotten.
CREATE TABLE history (
    day                INTEGER NOT NULL,
    name               INTEGER NOT NULL, -- not declared as a reference: to check one, all of the history would be read
    start              INTEGER NOT NULL, -- of the hour
    admitted           INTEGER NOT NULL,
    refused            INTEGER NOT NULL, -- for either limit
    refused_for_member INTEGER NOT NULL,
    PRIMARY KEY (day, name, start)
) WITHOUT ROWID;

-- The last batch of each writer, so that none is added twice.
CREATE TABLE history_writers (
    writer TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    day    INTEGER NOT NULL -- of its last row
) WITHOUT ROWID;
