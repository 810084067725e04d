package portal

import (
	"github.com/perdiem/perdiem/answer"
	"github.com/perdiem/perdiem/usage"
)

// ownUsage tells a program what its application, or the member for whom it acts, has used today.
func (p *Portal) ownUsage(v *visit) error {
	caller, err := p.Caller(v.r)
	if err != nil {
		return err
	}
	report, err := p.Usage.Own(v.r.Context(), usage.Question{
		Application: caller.Application,
		Member:      caller.Member,
		TokenID:     caller.TokenID,
		Header:      v.r.Header,
		RawQuery:    v.r.URL.RawQuery,
	})
	if err != nil {
		return err
	}
	status, body := answer.JSON(v.w.Header(), nil, report)
	v.send(status, body)
	return nil
}
