package answer

import (
	"encoding/json"
	"net/http"
)

// JSON answers with what v marshals to, which no cache may keep; with 500 where it cannot be marshalled.
func JSON(h http.Header, body []byte, v any) (status int, _ []byte) {
	text, err := json.Marshal(v)
	if err != nil {
		return Fault(h, body, err)
	}
	h["Content-Type"] = []string{"application/json"}
	h["Cache-Control"] = []string{"no-store"}
	return http.StatusOK, append(append(body, text...), '\n')
}
