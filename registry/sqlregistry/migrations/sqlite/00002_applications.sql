-- +goose Up
-- Applications that were added at run time. They lie under the layer that a file brought, and are never removed by one.
CREATE TABLE applications (
    id    TEXT PRIMARY KEY,
    tier  TEXT NOT NULL,
    added INTEGER NOT NULL -- milliseconds since 1970-01-01T00:00:00Z
) WITHOUT ROWID;
