package redisengine

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/watermarkchurch/toot-go/engine"
)

// unknownAge is that of attributes that were set by versions that did not keep
// it.
const unknownAge = 10 * 365 * 24 * time.Hour

// attributeKeys are the keys of a group, see lua/attributes.lua.
func (e *Engine) attributeKeys(group string) []string {
	return []string{"{" + e.namespace + "}:attributes:" + group, "{" + e.namespace + "}:attribute-times:" + group}
}

// Attribute returns one attribute, as engine.Attributes says.
func (e *Engine) Attribute(ctx context.Context, group, name string) (engine.Attribute, error) {
	if err := engine.ValidateAttribute(group, name); err != nil {
		return engine.Attribute{}, err
	}
	all, err := e.readAttributes(ctx, group, name)
	return all[name], err
}

// Attributes returns the attributes of a group, as engine.Attributes says.
func (e *Engine) Attributes(ctx context.Context, group string) (map[string]engine.Attribute, error) {
	if err := engine.ValidateGroup(group); err != nil {
		return nil, err
	}
	return e.readAttributes(ctx, group, "")
}

// readAttributes reads the attributes of a group, or the one that is named.
func (e *Engine) readAttributes(ctx context.Context, group, name string) (all map[string]engine.Attribute, err error) {
	const fields = 4 // of an attribute in the answer
	err = e.call(ctx, func(ctx context.Context) error {
		now, err := e.storeTime(ctx)
		if err != nil {
			return err
		}
		answer, err := attributesScript.Exec(ctx, e.client, e.attributeKeys(group), []string{strconv.FormatInt(now, 10), name}).AsStrSlice()
		if err != nil {
			return err
		}
		all = make(map[string]engine.Attribute, len(answer)/fields)
		for ; len(answer) >= fields; answer = answer[fields:] {
			a := engine.Attribute{Value: []byte(answer[1]), Age: unknownAge}
			if age, err := strconv.ParseInt(answer[2], 10, 64); err == nil {
				a.Age = time.Duration(max(age, 0)) * time.Microsecond
			}
			if left, err := strconv.ParseInt(answer[3], 10, 64); err == nil {
				a.Left = time.Duration(left) * time.Microsecond
			}
			all[answer[0]] = a
		}
		return nil
	})
	return all, err
}

// SwapAttribute sets an attribute, as engine.Attributes says.
func (e *Engine) SwapAttribute(ctx context.Context, group, name string, old, value []byte, keep time.Duration) (bool, error) {
	if err := engine.ValidateAttribute(group, name); err != nil {
		return false, err
	}
	var n int64
	again := "0"
	err := e.call(ctx, func(ctx context.Context) error {
		now, err := e.storeTime(ctx)
		if err != nil {
			return err
		}
		n, err = swapScript.Exec(ctx, e.client, e.attributeKeys(group), []string{
			name, rueidis.BinaryString(old), rueidis.BinaryString(value), strconv.FormatInt(now, 10), span(keep), again,
		}).AsInt64()
		again = "1"
		return err
	})
	return n > 0, err
}
