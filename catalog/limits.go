package catalog

import "github.com/perdiem/perdiem/quota"

// PartialLimits are limits of which either may be left to somebody else: nil is not told.
type PartialLimits struct {
	Application *quota.Limit
	Member      *quota.Limit
}

// IsZero reports whether neither limit is told.
func (p PartialLimits) IsZero() bool { return p.Application == nil && p.Member == nil }

// over returns base with what p tells put over it.
func (p PartialLimits) over(base quota.Limits) quota.Limits {
	if p.Application != nil {
		base.Application = *p.Application
	}
	if p.Member != nil {
		base.Member = *p.Member
	}
	return base
}

func (p PartialLimits) clone() PartialLimits {
	if p.Application != nil {
		p.Application = new(*p.Application)
	}
	if p.Member != nil {
		p.Member = new(*p.Member)
	}
	return p
}
