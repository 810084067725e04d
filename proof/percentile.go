package main

import (
	"slices"
	"time"
)

// percentile returns the smallest duration that p percent of the durations do not exceed (p is 1 to 100); 0 when there are none. It
// sorts them.
func percentile(durations []time.Duration, p int) time.Duration {
	if len(durations) == 0 {
		return 0
	}
	slices.Sort(durations)
	return durations[(len(durations)*p+99)/100-1]
}

// median returns the middle of the values, or the mean of the two middle ones; 0 when there are none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	m := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[m]
	}
	return (sorted[m-1] + sorted[m]) / 2
}
