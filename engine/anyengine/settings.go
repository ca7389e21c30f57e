package anyengine

import (
	"fmt"
	"net/url"
	"strings"
)

// cutSettings takes those settings out of the name of a store, behind its ?, that
// are not the connection's.
func cutSettings(name string, cut ...string) (rest string, settings url.Values, err error) {
	rest, query, ok := strings.Cut(name, "?")
	if !ok {
		return name, nil, nil
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", nil, fmt.Errorf("%w: what follows the ? is not escaped as it must be", ErrName)
	}
	settings = url.Values{}
	for _, setting := range cut {
		if values.Has(setting) {
			settings.Set(setting, values.Get(setting))
			values.Del(setting)
		}
	}
	if len(values) > 0 {
		rest += "?" + values.Encode()
	}
	return rest, settings, nil
}
