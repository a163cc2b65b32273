package e2e

func application(string) int { return 0 }
