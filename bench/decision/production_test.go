package decision

import (
	"testing"

	"github.com/perdiem/perdiem/quota"
)

// BenchmarkProduction begins with an empty ledger and members that are unknown, whose limit is 150 calls.
func BenchmarkProduction(b *testing.B) {
	list := calls(counters, quota.Limits{Application: quota.Unlimited, Member: 150})
	b.Run("uniform", func(b *testing.B) {
		n := openNode(b)
		run(b, n, uniform(counters), func(i int) (quota.Kind, error) {
			d, err := n.Take(b.Context(), list[i])
			return d.Refused, err
		})
	})
	b.Run("zipf", func(b *testing.B) {
		n := openNode(b)
		run(b, n, zipf(counters), func(i int) (quota.Kind, error) {
			d, err := n.Take(b.Context(), list[i])
			return d.Refused, err
		})
	})
}

// BenchmarkRefused refuses calls of limits that are used up, while refusals are noted in the ledger as they are in production.
func BenchmarkRefused(b *testing.B) {
	const refused = 100_000 // counters: as many as a node remembers for certain
	for _, c := range []struct {
		name   string
		limits quota.Limits
	}{
		{"application", quota.Limits{Application: 1, Member: quota.Unlimited}},
		{"member", quota.Limits{Application: quota.Unlimited, Member: 1}},
	} {
		b.Run(c.name, func(b *testing.B) {
			n := openNode(b)
			list := calls(refused, c.limits)
			use := func(i int) (quota.Kind, error) {
				d, err := n.Take(b.Context(), list[i])
				return d.Refused, err
			}
			for i := range list {
				if _, err := use(i); err != nil {
					b.Fatal(err)
				}
			}
			run(b, n, uniform(refused), use)
		})
	}
}
