-- +goose Up
-- What became of the last attempt to deliver an alert by each channel of an application's settings.
CREATE TABLE alert_deliveries (
    application TEXT NOT NULL,
    channel     TEXT NOT NULL,
    at          INTEGER NOT NULL,
    problem     TEXT NOT NULL, -- empty: it was taken
    again       INTEGER,
    PRIMARY KEY (application, channel)
) WITHOUT ROWID;
