package main

import (
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	upTo := func(n int) []time.Duration {
		var d []time.Duration
		for i := n; i > 0; i-- {
			d = append(d, time.Duration(i))
		}
		return d
	}
	for _, c := range []struct {
		durations []time.Duration
		p         int
		want      time.Duration
	}{
		{nil, 99, 0},
		{upTo(1), 99, 1},
		{upTo(99), 99, 99},
		{upTo(100), 99, 99},
		{upTo(101), 99, 100},
		{upTo(200), 99, 198},
		{upTo(1000), 99, 990},
		{upTo(10), 50, 5},
		{upTo(10), 100, 10},
	} {
		if got := percentile(c.durations, c.p); got != c.want {
			t.Errorf("percentile %d of %d durations: %d, want %d", c.p, len(c.durations), got, c.want)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{nil, 0}, {[]float64{7}, 7}, {[]float64{3, 1}, 2}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := median(c.values); got != c.want {
			t.Errorf("median of %v: %v, want %v", c.values, got, c.want)
		}
	}
}
