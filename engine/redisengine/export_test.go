package redisengine

// For tests outside of the package.
var (
	JobKey       = jobKey
	ClientOption = clientOption
)
