package sqlregistry

import (
	"cmp"
	"context"
	"database/sql"
	"slices"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/usage"
)

var _ usage.HistoryStore = (*Registry)(nil)

// forgottenRows is how many rows of history are removed at a time.
const forgottenRows = 1000

// AddHistory adds a batch to the history.
func (r *Registry) AddHistory(ctx context.Context, b usage.HistoryBatch) error {
	if len(b.Rows) == 0 || len(b.Rows) > usage.MaxHistoryRows {
		return fault.New(fault.Invalid, "%d rows of history: must be 1 to %d", len(b.Rows), usage.MaxHistoryRows)
	}
	return r.write(ctx, func(tx *sql.Tx) error {
		noted, err := tx.ExecContext(ctx, "INSERT INTO history_writers (writer, number, day) VALUES ($1, $2, $3) "+
			"ON CONFLICT (writer) DO UPDATE SET number = excluded.number, day = excluded.day WHERE history_writers.number < excluded.number",
			b.Writer, b.Number, lastDay(b.Rows))
		if err != nil {
			return err
		}
		if rows, err := noted.RowsAffected(); err != nil {
			return err
		} else if rows == 0 {
			return errRollback
		}
		name, err := tx.PrepareContext(ctx, "INSERT INTO history_names (application, endpoint, last) VALUES ($1, $2, $3) "+
			"ON CONFLICT (application, endpoint) DO UPDATE SET last = excluded.last WHERE history_names.last < excluded.last")
		if err != nil {
			return err
		}
		defer name.Close()
		add, err := tx.PrepareContext(ctx, "INSERT INTO history (day, name, start, admitted, refused, refused_for_member) "+
			"SELECT $1, seq, $2, $3, $4, $5 FROM history_names WHERE application = $6 AND endpoint = $7 "+
			"ON CONFLICT (day, name, start) DO UPDATE SET admitted = history.admitted + excluded.admitted, "+
			"refused = history.refused + excluded.refused, refused_for_member = history.refused_for_member + excluded.refused_for_member")
		if err != nil {
			return err
		}
		defer add.Close()
		for _, row := range b.Rows {
			if _, err := name.ExecContext(ctx, row.Application, row.Endpoint, row.Day); err != nil {
				return err
			}
			if _, err := add.ExecContext(ctx, row.Day, row.Start.UnixMilli(), row.Admitted, row.Refused, row.RefusedForMember,
				row.Application, row.Endpoint); err != nil {
				return err
			}
		}
		return nil
	})
}

func lastDay(rows []usage.HistoryRow) quota.Date {
	return slices.MaxFunc(rows, func(a, b usage.HistoryRow) int { return cmp.Compare(a.Day, b.Day) }).Day
}

// HistoryByHour returns the hours of a day.
func (r *Registry) HistoryByHour(ctx context.Context, application, endpoint string, day quota.Date, writer string) ([]usage.Bucket, int64, error) {
	return r.history(ctx, writer, "SELECT h.day, h.start, h.admitted, h.refused, h.refused_for_member "+
		"FROM history_names n JOIN history h ON h.name = n.seq "+
		"WHERE n.application = $1 AND n.endpoint = $2 AND h.day = $3 ORDER BY h.start", application, endpoint, day)
}

// HistoryByDay returns days. Each is looked up by itself: the history of all others lies between them.
func (r *Registry) HistoryByDay(ctx context.Context, application, endpoint string, from, to quota.Date, writer string) ([]usage.Bucket, int64, error) {
	if to < from || to-from >= usage.MaxHistoryDays {
		return nil, 0, fault.New(fault.Invalid, "from %s to %s: must be 1 to %d days", from, to, usage.MaxHistoryDays)
	}
	return r.history(ctx, writer, "WITH RECURSIVE days (day) AS (SELECT CAST($3 AS INTEGER) UNION ALL SELECT day + 1 FROM days WHERE day < $4) "+
		"SELECT h.day, NULL, SUM(h.admitted), SUM(h.refused), SUM(h.refused_for_member) "+
		"FROM history_names n CROSS JOIN days d CROSS JOIN history h "+
		"WHERE n.application = $1 AND n.endpoint = $2 AND h.day = d.day AND h.name = n.seq GROUP BY h.day ORDER BY h.day",
		application, endpoint, from, to)
}

// history returns buckets, and which of the writer's batches are in them.
func (r *Registry) history(ctx context.Context, writer, query string, args ...any) (buckets []usage.Bucket, last int64, err error) {
	err = r.read(ctx, func(tx *sql.Tx) error {
		if buckets, err = readBuckets(ctx, tx, query, args...); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, "SELECT COALESCE((SELECT number FROM history_writers WHERE writer = $1), 0)", writer).Scan(&last)
	})
	if err != nil {
		return nil, 0, err
	}
	return buckets, last, nil
}

func readBuckets(ctx context.Context, q querier, query string, args ...any) ([]usage.Bucket, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var buckets []usage.Bucket
	for rows.Next() {
		var b usage.Bucket
		var start sql.NullInt64
		if err := rows.Scan(&b.Day, &start, &b.Admitted, &b.Refused, &b.RefusedForMember); err != nil {
			return nil, err
		}
		b.Start = fromMillis(start)
		buckets = append(buckets, b)
	}
	return buckets, rows.Err()
}

// ForgetHistory removes some of what is older than a day: the rows first, then what they were of.
func (r *Registry) ForgetHistory(ctx context.Context, before quota.Date) (more bool, err error) {
	var old bool
	if err := r.reader.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM history WHERE day < $1) OR EXISTS (SELECT 1 FROM history_names WHERE last < $1) "+
		"OR EXISTS (SELECT 1 FROM history_writers WHERE day < $1)", before).Scan(&old); err != nil || !old {
		return false, r.failure(err) // nothing is changed where there is nothing to remove
	}
	err = r.write(ctx, func(tx *sql.Tx) error {
		for _, remove := range []string{
			"DELETE FROM history WHERE (day, name, start) IN (SELECT day, name, start FROM history WHERE day < $1 ORDER BY day, name, start LIMIT $2)",
			"DELETE FROM history_names WHERE seq IN (SELECT seq FROM history_names WHERE last < $1 LIMIT $2)",
			"DELETE FROM history_writers WHERE writer IN (SELECT writer FROM history_writers WHERE day < $1 LIMIT $2)",
		} {
			removed, err := tx.ExecContext(ctx, remove, before, forgottenRows)
			if err != nil {
				return err
			}
			rows, err := removed.RowsAffected()
			if more = rows == forgottenRows; err != nil || more {
				return err
			}
		}
		return nil
	})
	return more, err
}
